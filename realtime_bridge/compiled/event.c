/* Creation of events and of their ids, as model/event.py and model/ids.py do it. */
#include "core.h"

#define MAX_LABEL 128
#define MAX_NAME 200
#define ID_CHARACTERS 36
#define HEAD_CHARACTERS 14

/* Return whether a text is ASCII of a valid length, without controls. */
static int is_printable_ascii(PyObject *text, Py_ssize_t longest) {
    if (!PyUnicode_CheckExact(text) || !PyUnicode_IS_COMPACT_ASCII(text)) return 0;
    Py_ssize_t size = PyUnicode_GET_LENGTH(text);
    const Py_UCS1 *data = PyUnicode_1BYTE_DATA(text);
    for (Py_ssize_t i = 0; i < size; i++)
        if (data[i] < 0x20 || data[i] > 0x7e) return 0;
    return 0 < size && size <= longest;
}

static int starts_with(PyObject *text, const char *start) {
    size_t size = strlen(start);
    return (size_t)PyUnicode_GET_LENGTH(text) >= size &&
           memcmp(PyUnicode_1BYTE_DATA(text), start, size) == 0;
}

/* Return whether a text is the name of a channel on which applications publish. */
static int is_event_channel(PyObject *text) {
    if (!is_printable_ascii(text, MAX_LABEL)) return 0;
    const Py_UCS1 *data = PyUnicode_1BYTE_DATA(text);
    for (Py_ssize_t i = 0; i < PyUnicode_GET_LENGTH(text); i++)
        if (!Py_ISALNUM(data[i]) && strchr("_=@,.;-", data[i]) == NULL) return 0;
    return !starts_with(text, "private-") && !starts_with(text, "presence-") &&
           !starts_with(text, "@realtime");
}

/* Ask for the milliseconds since the Unix epoch; `time` is patched in simulations. */
int ask_millisecond(struct core *core, long long *millisecond) {
    PyObject *nanoseconds = PyObject_CallMethodNoArgs(core->time_module, core->time_ns);
    if (nanoseconds == NULL) return -1;
    *millisecond = PyLong_AsLongLong(nanoseconds) / 1000000;
    Py_DECREF(nanoseconds);
    return PyErr_Occurred() ? -1 : 0;
}

/* Set the start of the ids of this millisecond. */
static int update_head(struct core *core) {
    long long millisecond;
    if (ask_millisecond(core, &millisecond) < 0) return -1;
    if (millisecond == core->millisecond) return 0;
    core->millisecond = millisecond;
    char digits[HEAD_CHARACTERS + 1];
    PyOS_snprintf(digits, sizeof digits, "%08llx-%04llx-", (unsigned long long)millisecond >> 16,
                  (unsigned long long)millisecond & 0xffff);
    memcpy(core->id_head, digits, HEAD_CHARACTERS);
    return 0;
}

/* Return the last drawn end of an id, or NULL where new ones have to be drawn. */
static PyObject *take_tail(struct core *core) {
    Py_ssize_t count = PyList_GET_SIZE(core->id_tails);
    if (count == 0) return NULL;
    PyObject *tail = Py_NewRef(PyList_GET_ITEM(core->id_tails, count - 1));
    if (PyList_SetSlice(core->id_tails, count - 1, count, NULL) == 0 &&
        PyUnicode_IS_COMPACT_ASCII(tail) && PyUnicode_GET_LENGTH(tail) == ID_CHARACTERS - HEAD_CHARACTERS)
        return tail;
    Py_DECREF(tail);
    return NULL;
}

PyObject *event_id(PyObject *module, PyObject *unused) {
    (void)unused;
    struct core *core = core_of(module);
    if (update_head(core) < 0) return NULL;
    PyObject *tail = take_tail(core);
    if (tail == NULL) return PyErr_Occurred() ? NULL : PyObject_CallNoArgs(core->id_in_python);
    PyObject *id = PyUnicode_New(ID_CHARACTERS, 127);
    if (id) {
        memcpy(PyUnicode_1BYTE_DATA(id), core->id_head, HEAD_CHARACTERS);
        memcpy(PyUnicode_1BYTE_DATA(id) + HEAD_CHARACTERS, PyUnicode_1BYTE_DATA(tail),
               ID_CHARACTERS - HEAD_CHARACTERS);
    }
    Py_DECREF(tail);
    return id;
}

/* Return the data as JSON, in bytes of their own size; NULL where Python has to find the error. */
static PyObject *encode_data(struct core *core, PyObject *data) {
    PyObject *arguments[] = {data, Py_None, core->dumps_option}, *body = NULL;
    PyObject *json = PyObject_Vectorcall(core->dumps, arguments, 3, NULL);
    if (json && PyBytes_CheckExact(json) && PyBytes_GET_SIZE(json) <= core->max_data_bytes)
        body = PyBytes_FromStringAndSize(PyBytes_AS_STRING(json), PyBytes_GET_SIZE(json));
    Py_XDECREF(json);
    PyErr_Clear();
    return body;
}

/* Return an event without checks, of values that were checked; steals the body and the id. */
static PyObject *build_event(struct core *core, PyObject *const *values, PyObject *body, PyObject *id) {
    PyObject *event = core->event.type->tp_alloc(core->event.type, 0);
    if (event == NULL) {
        Py_DECREF(body);
        Py_DECREF(id);
        return NULL;
    }
    FIELD(core->event, event, EVENT_CHANNEL) = Py_NewRef(values[0]);
    FIELD(core->event, event, EVENT_EVENT) = Py_NewRef(values[1]);
    FIELD(core->event, event, EVENT_BODY) = body;
    FIELD(core->event, event, EVENT_ID) = id;
    FIELD(core->event, event, EVENT_KEY) = Py_NewRef(values[4]);
    FIELD(core->event, event, EVENT_SOURCE) = Py_NewRef(values[5]);
    FIELD(core->event, event, EVENT_TIME) = Py_NewRef(Py_None);
    FIELD(core->event, event, EVENT_POSITION) = Py_NewRef(Py_None);
    FIELD(core->event, event, EVENT_HAS_LARGE_INTEGERS) = Py_NewRef(Py_False);
    FIELD(core->event, event, EVENT_WRITE) = Py_NewRef(Py_None);
    FIELD(core->event, event, EVENT_TRACEPARENT) = Py_NewRef(Py_None);
    return event;
}

static int is_label_or_none(PyObject *value) {
    return value == Py_None || is_printable_ascii(value, MAX_LABEL);
}

/* Return whether time and position, which are optional, are left to the log. */
static int is_unplaced(PyObject *const *values, Py_ssize_t count) {
    return count == 6 || (count == 8 && values[6] == Py_None && values[7] == Py_None);
}

PyObject *create_event(PyObject *module, PyObject *const *values, Py_ssize_t count) {
    struct core *core = core_of(module);
    PyObject *body = NULL;
    if (is_unplaced(values, count) && is_event_channel(values[0]) && is_printable_ascii(values[1], MAX_NAME) &&
        is_label_or_none(values[3]) && is_label_or_none(values[4]) && is_label_or_none(values[5]))
        body = encode_data(core, values[2]);
    if (body == NULL) return PyObject_Vectorcall(core->create_in_python, values, (size_t)count, NULL);
    PyObject *id = values[3] == Py_None ? event_id(module, NULL) : Py_NewRef(values[3]);
    if (id) return build_event(core, values, body, id);
    Py_DECREF(body);
    return NULL;
}

PyObject *bind_event_id(PyObject *module, PyObject *arguments) {
    struct core *core = core_of(module);
    PyObject *function, *tails, *time;
    if (!PyArg_ParseTuple(arguments, "OO!O", &function, &PyList_Type, &tails, &time)) return NULL;
    Py_XSETREF(core->time_ns, PyUnicode_InternFromString("time_ns"));
    if (core->time_ns == NULL) return NULL;
    Py_XSETREF(core->id_in_python, Py_NewRef(function));
    Py_XSETREF(core->id_tails, Py_NewRef(tails));
    Py_XSETREF(core->time_module, Py_NewRef(time));
    core->millisecond = -1;
    Py_RETURN_NONE;
}

PyObject *bind_create_event(PyObject *module, PyObject *arguments) {
    struct core *core = core_of(module);
    PyObject *function, *event, *dumps, *option;
    Py_ssize_t max_data_bytes;
    if (!PyArg_ParseTuple(arguments, "OOOOn", &function, &event, &dumps, &option, &max_data_bytes))
        return NULL;
    if (core->id_tails == NULL) {
        PyErr_SetString(PyExc_TypeError, "bind event_id first");
        return NULL;
    }
    if (find_event(core, event) < 0) return NULL;
    Py_XSETREF(core->create_in_python, Py_NewRef(function));
    Py_XSETREF(core->dumps, Py_NewRef(dumps));
    Py_XSETREF(core->dumps_option, Py_NewRef(option));
    core->max_data_bytes = max_data_bytes;
    Py_RETURN_NONE;
}
