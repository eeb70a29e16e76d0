/* Message of an event, as protocol/wire/messages.py encodes it, and its WebSocket frame. */
#include "core.h"

#define HEAD_BYTES 10
#define NUMBER_BYTES 20
/* Names of all fields, quotes, commas and braces; all of them are 150 bytes. */
#define FIXED_BYTES 192

int buffer_reserve(struct buffer *buffer, Py_ssize_t more) {
    if (more <= buffer->room - buffer->size) return 0;
    Py_ssize_t room = buffer->size + more + buffer->room;
    char *data = PyMem_Realloc(buffer->data, (size_t)room);
    if (data == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    buffer->data = data;
    buffer->room = room;
    return 0;
}

/* Return whether JSON has the text as it is: ASCII without quotes, backslashes and controls. */
static int is_plain(PyObject *text) {
    if (!PyUnicode_CheckExact(text) || !PyUnicode_IS_COMPACT_ASCII(text)) return 0;
    const Py_UCS1 *data = PyUnicode_1BYTE_DATA(text);
    for (Py_ssize_t i = 0; i < PyUnicode_GET_LENGTH(text); i++)
        if (data[i] < 0x20 || data[i] == '"' || data[i] == '\\') return 0;
    return 1;
}

/* Fields of a message in their order; NULL or None is left out. */
struct fields {
    PyObject *channel, *event, *id, *epoch, *offset, *time, *key, *source, *fold, *attempt, *traceparent, *body;
};

static int is_absent(PyObject *value) { return value == NULL || value == Py_None; }

static int is_integer(PyObject *value) {
    if (is_absent(value)) return 1;
    int overflow = 1;
    if (PyLong_CheckExact(value)) PyLong_AsLongLongAndOverflow(value, &overflow);
    return !overflow;
}

/* Read the fields; return 0 where only the encoder in Python can encode them. */
static int read_fields(struct core *core, PyObject *event, struct fields *fields) {
    if (!IS_OF(core->event, event)) return 0;
    PyObject *position = FIELD(core->event, event, EVENT_POSITION);
    PyObject *write = FIELD(core->event, event, EVENT_WRITE);
    *fields = (struct fields){
        .channel = FIELD(core->event, event, EVENT_CHANNEL),
        .event = FIELD(core->event, event, EVENT_EVENT),
        .id = FIELD(core->event, event, EVENT_ID),
        .time = FIELD(core->event, event, EVENT_TIME),
        .key = FIELD(core->event, event, EVENT_KEY),
        .source = FIELD(core->event, event, EVENT_SOURCE),
        .traceparent = FIELD(core->event, event, EVENT_TRACEPARENT),
        .body = FIELD(core->event, event, EVENT_BODY),
    };
    if (!is_absent(position)) {
        if (!IS_OF(core->position, position)) return 0;
        fields->epoch = FIELD(core->position, position, POSITION_EPOCH);
        fields->offset = FIELD(core->position, position, POSITION_OFFSET);
    }
    if (!is_absent(write)) {
        if (!IS_OF(core->write, write)) return 0;
        fields->fold = FIELD(core->write, write, WRITE_FOLD);
        fields->attempt = FIELD(core->write, write, WRITE_ATTEMPT);
    }
    PyObject *required[] = {fields->channel, fields->event, fields->id};
    PyObject *optional[] = {fields->epoch, fields->key, fields->source, fields->fold, fields->attempt,
                            fields->traceparent};
    for (size_t i = 0; i < Py_ARRAY_LENGTH(required); i++)
        if (is_absent(required[i]) || !is_plain(required[i])) return 0;
    for (size_t i = 0; i < Py_ARRAY_LENGTH(optional); i++)
        if (!is_absent(optional[i]) && !is_plain(optional[i])) return 0;
    return is_integer(fields->offset) && is_integer(fields->time) && fields->body &&
           PyBytes_CheckExact(fields->body);
}

static char *put(char *out, const char *data, Py_ssize_t size) {
    memcpy(out, data, (size_t)size);
    return out + size;
}

#define PUT_LITERAL(out, literal) put(out, literal, (Py_ssize_t)sizeof(literal) - 1)

static char *put_text(char *out, const char *name, PyObject *text) {
    if (is_absent(text)) return out;
    out = put(out, name, (Py_ssize_t)strlen(name));
    out = put(out, (const char *)PyUnicode_1BYTE_DATA(text), PyUnicode_GET_LENGTH(text));
    *out++ = '"';
    return out;
}

static char *put_integer(char *out, const char *name, PyObject *value) {
    if (is_absent(value)) return out;
    out = put(out, name, (Py_ssize_t)strlen(name));
    char digits[NUMBER_BYTES], *digit = digits + sizeof digits;
    long long number = PyLong_AsLongLong(value);
    unsigned long long rest = number < 0 ? 0 - (unsigned long long)number : (unsigned long long)number;
    do {
        *--digit = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (number < 0) *--digit = '-';
    return put(out, digit, digits + sizeof digits - digit);
}

static Py_ssize_t length_of(PyObject *text) {
    return is_absent(text) ? 0 : PyUnicode_GET_LENGTH(text);
}

static int encode_plain(const struct fields *fields, struct buffer *buffer) {
    Py_ssize_t body = PyBytes_GET_SIZE(fields->body);
    Py_ssize_t most = FIXED_BYTES + 2 * NUMBER_BYTES + length_of(fields->channel) +
                      length_of(fields->event) + length_of(fields->id) + length_of(fields->epoch) +
                      length_of(fields->key) + length_of(fields->source) + length_of(fields->fold) +
                      length_of(fields->attempt) + length_of(fields->traceparent) + body;
    if (buffer_reserve(buffer, most) < 0) return -1;
    char *out = buffer->data + buffer->size;
    out = PUT_LITERAL(out, "{\"type\":\"event\"");
    out = put_text(out, ",\"channel\":\"", fields->channel);
    out = put_text(out, ",\"event\":\"", fields->event);
    out = put_text(out, ",\"id\":\"", fields->id);
    out = put_text(out, ",\"epoch\":\"", fields->epoch);
    out = put_integer(out, ",\"offset\":", fields->offset);
    out = put_integer(out, ",\"time\":", fields->time);
    out = put_text(out, ",\"key\":\"", fields->key);
    out = put_text(out, ",\"source\":\"", fields->source);
    out = put_text(out, ",\"fold\":\"", fields->fold);
    out = put_text(out, ",\"attempt\":\"", fields->attempt);
    out = put_text(out, ",\"traceparent\":\"", fields->traceparent);
    out = PUT_LITERAL(out, ",\"data\":");
    out = put(out, PyBytes_AS_STRING(fields->body), body);
    *out++ = '}';
    buffer->size = out - buffer->data;
    return 0;
}

/* Append what the encoder in Python makes of an event. */
static int encode_by_python(struct core *core, PyObject *event, struct buffer *buffer) {
    PyObject *message = PyObject_CallOneArg(core->encode_in_python, event);
    if (message == NULL) return -1;
    char *data;
    Py_ssize_t size;
    int status = PyBytes_AsStringAndSize(message, &data, &size);
    if (status == 0) status = buffer_reserve(buffer, size);
    if (status == 0) {
        put(buffer->data + buffer->size, data, size);
        buffer->size += size;
    }
    Py_DECREF(message);
    return status;
}

/* Append the message of an event. */
int encode_message(struct core *core, PyObject *event, struct buffer *buffer) {
    struct fields fields;
    if (read_fields(core, event, &fields)) return encode_plain(&fields, buffer);
    return encode_by_python(core, event, buffer);
}

/* Write the head of a text frame (RFC 6455 section 5.2), and return its size. */
static Py_ssize_t put_head(unsigned char *head, Py_ssize_t size) {
    Py_ssize_t length_bytes = size < 126 ? 0 : size < 1 << 16 ? 2 : 8;
    head[0] = 0x81;
    head[1] = (unsigned char)(length_bytes == 0 ? size : length_bytes == 2 ? 126 : 127);
    for (Py_ssize_t i = 0; i < length_bytes; i++)
        head[2 + i] = (unsigned char)((unsigned long long)size >> 8 * (length_bytes - 1 - i));
    return 2 + length_bytes;
}

/* Append the message of an event as a WebSocket frame. */
int encode_event_frame(struct core *core, PyObject *event, struct buffer *buffer) {
    Py_ssize_t start = buffer->size;
    if (buffer_reserve(buffer, HEAD_BYTES) < 0) return -1;
    buffer->size += HEAD_BYTES;
    if (encode_message(core, event, buffer) < 0) return -1;
    Py_ssize_t size = buffer->size - start - HEAD_BYTES;
    Py_ssize_t head = put_head((unsigned char *)buffer->data + start, size);
    memmove(buffer->data + start + head, buffer->data + start + HEAD_BYTES, (size_t)size);
    buffer->size = start + head + size;
    return 0;
}

PyObject *encode_event(PyObject *module, PyObject *event) {
    struct buffer buffer = {0};
    PyObject *message = NULL;
    if (encode_message(core_of(module), event, &buffer) == 0)
        message = PyBytes_FromStringAndSize(buffer.data, buffer.size);
    PyMem_Free(buffer.data);
    return message;
}

static int put_character(struct buffer *buffer, char character) {
    if (buffer_reserve(buffer, 1) < 0) return -1;
    buffer->data[buffer->size++] = character;
    return 0;
}

/* Append the messages of events as a JSON list; the encoder in Python may change the sequence. */
static int encode_list(struct core *core, PyObject *events, struct buffer *buffer) {
    if (put_character(buffer, '[') < 0) return -1;
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(events); i++) {
        if (i > 0 && put_character(buffer, ',') < 0) return -1;
        PyObject *event = Py_NewRef(PySequence_Fast_GET_ITEM(events, i));
        int status = encode_message(core, event, buffer);
        Py_DECREF(event);
        if (status < 0) return -1;
    }
    return put_character(buffer, ']');
}

PyObject *encode_events(PyObject *module, PyObject *iterable) {
    struct buffer buffer = {0};
    PyObject *list = NULL, *events = PySequence_Fast(iterable, "events are iterable");
    if (events == NULL) return NULL;
    if (encode_list(core_of(module), events, &buffer) == 0)
        list = PyBytes_FromStringAndSize(buffer.data, buffer.size);
    PyMem_Free(buffer.data);
    Py_DECREF(events);
    return list;
}

PyObject *bind_encode_events(PyObject *module, PyObject *arguments) {
    (void)arguments;
    if (core_of(module)->encode_in_python) Py_RETURN_NONE;
    PyErr_SetString(PyExc_TypeError, "bind encode_event first");
    return NULL;
}

PyObject *bind_encode_event(PyObject *module, PyObject *arguments) {
    static const char *const write_names[] = {"fold", "attempt", "take", "lease"};
    struct core *core = core_of(module);
    PyObject *function, *event, *position, *write;
    if (!PyArg_ParseTuple(arguments, "OOOO", &function, &event, &position, &write)) return NULL;
    if (find_event(core, event) < 0 || find_position(core, position) < 0 ||
        layout_find(&core->write, write, write_names, Py_ARRAY_LENGTH(write_names)) < 0)
        return NULL;
    Py_XSETREF(core->encode_in_python, Py_NewRef(function));
    Py_RETURN_NONE;
}
