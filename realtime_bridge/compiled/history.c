/* Append of plain events to histories in memory, as protocol/publishing/history.py does it.
 *
 * Plain is an event without a change of an owned key, of a new id, on a channel that has events, whose
 * owners are not silent for too long. The function stops before any other event.
 */
#include "core.h"

static PyObject *call(PyObject *method, PyObject *object, PyObject *argument) {
    PyObject *arguments[] = {object, argument};
    return PyObject_Vectorcall(method, arguments, argument ? 2 : 1, NULL);
}

/* Call a method of a deque, whose result is not needed. */
static int call_deque(PyObject *method, PyObject *deque, PyObject *argument) {
    PyObject *result = call(method, deque, argument);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

static int set_integer(PyObject **field, long long value) {
    PyObject *number = PyLong_FromLongLong(value);
    if (number == NULL) return -1;
    Py_SETREF(*field, number);
    return 0;
}

/* Remove the ids that are not stored any longer. */
static int remove_old_ids(struct append *append, PyObject *history) {
    struct core *core = append->core;
    PyObject *order = FIELD(core->history, history, HISTORY_ORDER);
    PyObject *times = FIELD(core->history, history, HISTORY_ID_TIMES);
    PyObject *ids = FIELD(core->history, history, HISTORY_IDS);
    Py_ssize_t count;
    while ((count = PyObject_Size(order)) > core->min_ids) {
        PyObject *oldest = PySequence_GetItem(times, 0);
        if (oldest == NULL) return -1;
        double age = append->now - seconds_of(oldest);
        Py_DECREF(oldest);
        if (count <= core->max_ids && age <= core->id_seconds) return PyErr_Occurred() ? -1 : 0;
        PyObject *id = call(core->popleft, order, NULL);
        if (id == NULL) return -1;
        int status = PyDict_DelItem(ids, id);
        Py_DECREF(id);
        if (status < 0 || call_deque(core->popleft, times, NULL) < 0) return -1;
    }
    return count < 0 ? -1 : 0;
}

/* Return 1 if nothing but ids has expired, after their removal; 0 if Python has to decide. */
static int is_current(struct append *append, PyObject *history) {
    struct core *core = append->core;
    double age = append->now - seconds_of(FIELD(core->history, history, HISTORY_APPENDED_AT));
    PyObject *retention = FIELD(core->history, history, HISTORY_RETENTION);
    PyObject *keys = FIELD(core->history, history, HISTORY_KEYS);
    Py_ssize_t ids = PyObject_Size(FIELD(core->history, history, HISTORY_ORDER));
    if (ids < 0 || PyErr_Occurred()) return -1;
    if (age == 0 && ids <= core->max_ids) return 1;
    if (age > seconds_of(FIELD(core->retention, retention, RETENTION_SECONDS))) return 0;
    if (keys != core->no_keys) {
        PyObject *result = PyObject_CallMethodOneArg(history, core->expire, append->now_object);
        Py_XDECREF(result);
        if (result == NULL) return -1;
    }
    return remove_old_ids(append, history) < 0 ? -1 : 1;
}

/* Return 1 if an event is plain, or has a known id; 0 if Python has to append it. */
static int is_plain(struct append *append, PyObject *history, PyObject *event) {
    struct core *core = append->core;
    if (FIELD(core->event, event, EVENT_WRITE) != Py_None ||
        !IS_OF(core->position, FIELD(core->history, history, HISTORY_TOP)) ||
        !IS_OF(core->retention, FIELD(core->history, history, HISTORY_RETENTION)))
        return 0;
    int status = is_current(append, history);
    if (status != 1) return status;
    /* Channels without events share these objects. */
    PyObject *keys = FIELD(core->history, history, HISTORY_KEYS);
    if (FIELD(core->history, history, HISTORY_EVENTS) == core->no_events ||
        FIELD(core->history, history, HISTORY_IDS) == core->no_ids || !IS_OF(core->keys, keys))
        return 0;
    if (FIELD(core->event, event, EVENT_KEY) != Py_None &&
        (keys == core->no_keys || PyLong_AsLong(FIELD(core->keys, keys, KEYS_STATES)) != 0))
        return PyErr_Occurred() ? -1 : 0;
    double lease_at = seconds_of(FIELD(core->keys, keys, KEYS_LEASE_AT));
    if (PyErr_Occurred()) return -1;
    return lease_at > append->now;
}

/* Return the position after the top, for an event of this id. */
static PyObject *next_position(struct core *core, PyObject *top, PyObject *id) {
    PyObject *position = layout_copy(&core->position, top, POSITION_FIELDS);
    if (position == NULL) return NULL;
    PyObject **offset = &FIELD(core->position, position, POSITION_OFFSET);
    long long before = PyLong_AsLongLong(*offset);
    if (set_integer(offset, before + 1) < 0 || PyErr_Occurred()) {
        Py_DECREF(position);
        return NULL;
    }
    Py_SETREF(FIELD(core->position, position, POSITION_ID), Py_NewRef(id));
    return position;
}

static PyObject *with_position(struct append *append, PyObject *event, PyObject *position) {
    struct core *core = append->core;
    PyObject *stored = layout_copy(&core->event, event, EVENT_FIELDS);
    if (stored == NULL) return NULL;
    Py_SETREF(FIELD(core->event, stored, EVENT_POSITION), Py_NewRef(position));
    Py_SETREF(FIELD(core->event, stored, EVENT_TIME), Py_NewRef(append->time));
    return stored;
}

static PyObject *build_receipt(struct core *core, PyObject *id, PyObject *position) {
    PyObject *receipt = core->receipt.type->tp_alloc(core->receipt.type, 0);
    if (receipt == NULL) return NULL;
    FIELD(core->receipt, receipt, RECEIPT_ID) = Py_NewRef(id);
    FIELD(core->receipt, receipt, RECEIPT_POSITION) = Py_NewRef(position);
    FIELD(core->receipt, receipt, RECEIPT_DUPLICATE) = Py_NewRef(Py_False);
    FIELD(core->receipt, receipt, RECEIPT_PUSHED) = Py_NewRef(Py_True);
    FIELD(core->receipt, receipt, RECEIPT_REFUSED) = Py_NewRef(Py_None);
    FIELD(core->receipt, receipt, RECEIPT_NOTED) = Py_NewRef(core->zero);
    return receipt;
}

static Py_ssize_t body_size(struct core *core, PyObject *event) {
    return PyObject_Size(FIELD(core->event, event, EVENT_BODY));
}

/* Remove the oldest events beyond the limits; the last event stays, whatever its size. */
static int trim(struct core *core, PyObject *history) {
    PyObject *events = FIELD(core->history, history, HISTORY_EVENTS);
    PyObject *retention = FIELD(core->history, history, HISTORY_RETENTION);
    PyObject **field = &FIELD(core->history, history, HISTORY_BYTES);
    long long most_events = PyLong_AsLongLong(FIELD(core->retention, retention, RETENTION_EVENTS));
    long long most_bytes = PyLong_AsLongLong(FIELD(core->retention, retention, RETENTION_BYTES));
    long long bytes = PyLong_AsLongLong(*field);
    Py_ssize_t count = PyObject_Size(events);
    for (; count > 1 && (count > most_events || bytes > most_bytes); count--) {
        PyObject *oldest = PySequence_GetItem(events, 0);
        if (oldest == NULL) return -1;
        bytes -= body_size(core, oldest);
        Py_DECREF(oldest);
        if (set_integer(field, bytes) < 0 || call_deque(core->popleft, events, NULL) < 0) return -1;
    }
    return count < 0 || PyErr_Occurred() ? -1 : 0;
}

/* Add an id; return 1 if it is new, 0 if it is known. One look-up: most ids are new. */
static int add_id(struct core *core, PyObject *history, PyObject *id, PyObject *position) {
    PyObject *offset = FIELD(core->position, position, POSITION_OFFSET);
    PyObject *stored = PyDict_SetDefault(FIELD(core->history, history, HISTORY_IDS), id, offset);
    /* The offset is beyond all stored ones, so no known id has the same object. */
    return stored ? stored == offset : -1;
}

/* Remove the newest elements of some deques, and an id: its event could not be stored. The error stays. */
static void undo(struct core *core, PyObject *history, PyObject *id, PyObject **deques, int count) {
    PyObject *kind, *value, *trace;
    PyErr_Fetch(&kind, &value, &trace);
    while (count-- > 0) call_deque(core->pop, deques[count], NULL);
    PyDict_DelItem(FIELD(core->history, history, HISTORY_IDS), id);
    PyErr_Restore(kind, value, trace);
}

/* Add an event to the tables of its history, where its id is: to all of them, or to none. */
static int store(struct append *append, PyObject *history, PyObject *stored, PyObject *position) {
    struct core *core = append->core;
    PyObject *id = FIELD(core->event, stored, EVENT_ID);
    PyObject *deques[] = {FIELD(core->history, history, HISTORY_EVENTS),
                          FIELD(core->history, history, HISTORY_ORDER),
                          FIELD(core->history, history, HISTORY_ID_TIMES)};
    PyObject *elements[] = {stored, id, append->now_object};
    PyObject **bytes = &FIELD(core->history, history, HISTORY_BYTES);
    PyObject *new_bytes = PyLong_FromLongLong(PyLong_AsLongLong(*bytes) + body_size(core, stored));
    int done = 0;
    while (new_bytes && done < 3 && call_deque(core->append, deques[done], elements[done]) == 0) done++;
    if (done < 3) {
        Py_XDECREF(new_bytes);
        undo(core, history, id, deques, done);
        return -1;
    }
    Py_SETREF(*bytes, new_bytes);
    Py_SETREF(FIELD(core->history, history, HISTORY_TOP), Py_NewRef(position));
    Py_SETREF(FIELD(core->history, history, HISTORY_APPENDED_AT), Py_NewRef(append->now_object));
    return 0;
}

/* Store an event as the latest one of its key, where it has one. */
static int store_key(struct append *append, PyObject *history, PyObject *stored) {
    struct core *core = append->core;
    PyObject *key = FIELD(core->event, stored, EVENT_KEY);
    if (key == Py_None) return 0;
    PyObject *keys = FIELD(core->history, history, HISTORY_KEYS);
    PyObject *arguments[] = {keys, key, stored, append->now_object, Py_None};
    PyObject *result = PyObject_VectorcallMethod(core->store, arguments, 5, NULL);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

/* Append a plain event; return 1 with its results where that was done, 0 where its id is known. */
static int append_to(struct append *append, PyObject *history, PyObject *event) {
    struct core *core = append->core;
    PyObject *id = FIELD(core->event, event, EVENT_ID), *stored = NULL, *receipt = NULL;
    PyObject *position = next_position(core, FIELD(core->history, history, HISTORY_TOP), id);
    if (position) stored = with_position(append, event, position);
    if (stored) receipt = build_receipt(core, id, position);
    int status = receipt ? add_id(core, history, id, position) : -1;
    if (status == 1 && (store(append, history, stored, position) < 0 || trim(core, history) < 0 ||
                        store_key(append, history, stored) < 0))
        status = -1;
    Py_XDECREF(position);
    if (status == 1) {
        append->stored = stored;
        append->receipt = receipt;
        return 1;
    }
    Py_XDECREF(stored);
    Py_XDECREF(receipt);
    return status;
}

/* Append one event; return 1 with its results where that was done, 0 where Python has to. */
int append_event(struct append *append, PyObject *histories, PyObject *event) {
    struct core *core = append->core;
    if (!IS_OF(core->event, event)) return 0;
    PyObject *history = PyDict_GetItemWithError(histories, FIELD(core->event, event, EVENT_CHANNEL));
    if (history == NULL) return PyErr_Occurred() ? -1 : 0;
    if (!IS_OF(core->history, history)) return 0;
    long long cost = 2 * (body_size(core, event) + core->event_bytes);
    if (cost > append->room) return 0;
    /* Python code runs below: of keys, and the removal of what has expired. */
    Py_INCREF(history);
    int status = is_plain(append, history, event);
    if (status == 1) status = append_to(append, history, event);
    Py_DECREF(history);
    if (status == 1) append->room -= cost;
    return status;
}

/* Move the results of the last append to two lists. */
static int list_results(struct append *append, PyObject *receipts, PyObject *announced) {
    int status = PyList_Append(receipts, append->receipt);
    if (status == 0) status = PyList_Append(announced, append->stored);
    Py_CLEAR(append->receipt);
    Py_CLEAR(append->stored);
    return status;
}

PyObject *append_plain(PyObject *module, PyObject *const *values, Py_ssize_t count) {
    struct append append = {.core = core_of(module)};
    if (count != 8 || !PyDict_CheckExact(values[0]) || !PyList_CheckExact(values[1]) ||
        !PyNumber_Check(values[3]) || !PyLong_CheckExact(values[4]) || !PyList_CheckExact(values[6]) || !PyList_CheckExact(values[7])) {
        PyErr_SetString(PyExc_TypeError, "append_plain: dict, list, int, number, int, int, list, list");
        return NULL;
    }
    Py_ssize_t index = PyLong_AsSsize_t(values[2]);
    append.now_object = values[3];
    append.now = PyFloat_AsDouble(values[3]);
    append.time = values[4];
    append.room = PyLong_AsLongLong(values[5]);
    if (index < 0 || PyErr_Occurred()) return NULL;
    for (; index < PyList_GET_SIZE(values[1]); index++) {
        PyObject *event = Py_NewRef(PyList_GET_ITEM(values[1], index));
        int status = append_event(&append, values[0], event);
        Py_DECREF(event);
        if (status == 1) status = list_results(&append, values[6], values[7]) < 0 ? -1 : 1;
        if (status < 0) return NULL;
        if (status == 0) break;
    }
    return Py_BuildValue("nL", index, append.room);
}

/* Find the methods that are called, by name. */
static int find_methods(struct core *core, PyObject *deque) {
    Py_XSETREF(core->append, PyObject_GetAttrString(deque, "append"));
    Py_XSETREF(core->pop, PyObject_GetAttrString(deque, "pop"));
    Py_XSETREF(core->popleft, PyObject_GetAttrString(deque, "popleft"));
    Py_XSETREF(core->expire, PyUnicode_InternFromString("expire"));
    Py_XSETREF(core->store, PyUnicode_InternFromString("store"));
    Py_XSETREF(core->zero, PyLong_FromLong(0));
    return core->append && core->pop && core->popleft && core->expire && core->store && core->zero ? 0 : -1;
}

PyObject *bind_append_plain(PyObject *module, PyObject *arguments) {
    static const char *const history_names[] = {"top", "_retention", "appended_at", "_events", "_bytes",
                                                "_ids", "_order", "_id_times", "keys"};
    static const char *const keys_names[] = {"states", "lease_at"};
    static const char *const retention_names[] = {"events", "bytes", "seconds"};
    static const char *const receipt_names[] = {"id", "position", "duplicate", "pushed", "refused", "noted"};
    struct core *core = core_of(module);
    PyObject *event, *position, *receipt, *retention, *history, *keys, *no_events, *no_ids, *no_keys;
    if (!PyArg_ParseTuple(arguments, "(OOOOOO)(OOO)(nndn)", &event, &position, &receipt, &retention,
                          &history, &keys, &no_events, &no_ids, &no_keys, &core->min_ids,
                          &core->max_ids, &core->id_seconds, &core->event_bytes))
        return NULL;
    if (find_event(core, event) < 0 || find_position(core, position) < 0 ||
        layout_find(&core->receipt, receipt, receipt_names, Py_ARRAY_LENGTH(receipt_names)) < 0 ||
        layout_find(&core->retention, retention, retention_names, Py_ARRAY_LENGTH(retention_names)) < 0 ||
        layout_find(&core->history, history, history_names, Py_ARRAY_LENGTH(history_names)) < 0 ||
        layout_find(&core->keys, keys, keys_names, Py_ARRAY_LENGTH(keys_names)) < 0 ||
        layout_check_size(&core->receipt, Py_ARRAY_LENGTH(receipt_names)) < 0 ||
        find_methods(core, (PyObject *)Py_TYPE(no_events)) < 0)
        return NULL;
    Py_XSETREF(core->no_events, Py_NewRef(no_events));
    Py_XSETREF(core->no_ids, Py_NewRef(no_ids));
    Py_XSETREF(core->no_keys, Py_NewRef(no_keys));
    Py_RETURN_NONE;
}
