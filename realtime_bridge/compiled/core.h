/* Compiled core: functions in C that work on the same Python objects as their twins in Python.
 *
 * The state of events, histories and channels stays in Python's objects. The functions here read and
 * write the fields of these objects, and leave everything that is not plain to the code in Python.
 */
#ifndef REALTIME_BRIDGE_CORE_H
#define REALTIME_BRIDGE_CORE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* Places of a class's fields within its objects. */
struct layout {
    PyTypeObject *type;
    Py_ssize_t offsets[12];
};

#define FIELD(layout, object, index) (*(PyObject **)((char *)(object) + (layout).offsets[index]))
#define IS_OF(layout, object) Py_IS_TYPE(object, (layout).type)

enum { POSITION_EPOCH, POSITION_OFFSET, POSITION_ID, POSITION_FIELDS };
enum {
    EVENT_CHANNEL, EVENT_EVENT, EVENT_BODY, EVENT_ID, EVENT_KEY, EVENT_SOURCE, EVENT_TIME,
    EVENT_POSITION, EVENT_HAS_LARGE_INTEGERS, EVENT_WRITE, EVENT_TRACEPARENT, EVENT_FIELDS,
};
enum { WRITE_FOLD, WRITE_ATTEMPT, WRITE_TAKE, WRITE_LEASE };
enum {
    FANOUT_POSITION, FANOUT_FAST, FANOUT_RECOVERING, FANOUT_SPEAKS_OTHER, FANOUT_SUBSCRIBERS,
    FANOUT_AHEAD, FANOUT_READING,
};

enum { RECEIPT_ID, RECEIPT_POSITION, RECEIPT_DUPLICATE, RECEIPT_PUSHED, RECEIPT_REFUSED, RECEIPT_NOTED };
enum { RETENTION_EVENTS, RETENTION_BYTES, RETENTION_SECONDS };
enum {
    HISTORY_TOP, HISTORY_RETENTION, HISTORY_APPENDED_AT, HISTORY_EVENTS, HISTORY_BYTES, HISTORY_IDS,
    HISTORY_ORDER, HISTORY_ID_TIMES, HISTORY_KEYS,
};
enum { KEYS_STATES, KEYS_LEASE_AT };
enum { HISTORIES_BY_CHANNEL, HISTORIES_MAX_BYTES, HISTORIES_MOST_BYTES, HISTORIES_NEXT_EXPIRY };
enum { FEED_LISTENERS, FEED_MUST_YIELD };
enum { LISTENER_CHANNELS, LISTENER_QUEUE };
enum { QUEUE_EVENTS, QUEUE_CAPACITY, QUEUE_IS_DUE, QUEUE_SCHEDULE };

#define LAYOUTS(X)                                                                                  \
    X(event) X(position) X(write) X(fanout) X(receipt) X(retention) X(history) X(keys) X(histories)  \
    X(feed) X(listener) X(queue)
#define OBJECTS(X)                                                                                  \
    X(encode_in_python) X(create_in_python) X(dumps) X(dumps_option) X(id_in_python) X(id_tails)    \
    X(time_module) X(time_ns) X(append) X(pop) X(popleft) X(expire) X(store) X(zero) X(no_events) X(no_ids) \
    X(no_keys) X(expire_some) X(receive)

/* State of the module: the classes, and the objects and functions of Python that it uses. */
struct core {
#define DECLARE_LAYOUT(name) struct layout name;
    LAYOUTS(DECLARE_LAYOUT)
#define DECLARE_OBJECT(name) PyObject *name;
    OBJECTS(DECLARE_OBJECT)
    double *delay_bounds, id_seconds;
    Py_ssize_t delay_bound_count, max_data_bytes, min_ids, max_ids, event_bytes, yield_events;
    long long millisecond;
    char id_head[16]; /* of the ids in this millisecond */
};

/* Text or frames that grow. */
struct buffer {
    char *data;
    Py_ssize_t size, room;
};

/* layout.c */
int layout_find(struct layout *layout, PyObject *type, const char *const *names, Py_ssize_t count);
int layout_check_size(const struct layout *layout, Py_ssize_t count);
PyObject *layout_copy(const struct layout *layout, PyObject *object, Py_ssize_t count);
int find_event(struct core *core, PyObject *type);
int find_position(struct core *core, PyObject *type);

/* message.c */
int buffer_reserve(struct buffer *buffer, Py_ssize_t more);
int encode_message(struct core *core, PyObject *event, struct buffer *buffer);
int encode_event_frame(struct core *core, PyObject *event, struct buffer *buffer);
PyObject *bind_encode_event(PyObject *module, PyObject *arguments);
PyObject *encode_event(PyObject *module, PyObject *event);
PyObject *bind_encode_events(PyObject *module, PyObject *arguments);
PyObject *encode_events(PyObject *module, PyObject *iterable);

/* event.c */
int ask_millisecond(struct core *core, long long *millisecond);
PyObject *bind_event_id(PyObject *module, PyObject *arguments);
PyObject *event_id(PyObject *module, PyObject *unused);
PyObject *bind_create_event(PyObject *module, PyObject *arguments);
PyObject *create_event(PyObject *module, PyObject *const *values, Py_ssize_t count);

/* history.c */
struct append {
    struct core *core;
    PyObject *now_object, *time;
    double now;
    long long room;              /* bytes until events have to be removed */
    PyObject *receipt, *stored; /* results of the last append; its caller owns the references */
};
int append_event(struct append *append, PyObject *histories, PyObject *event);
PyObject *bind_append_plain(PyObject *module, PyObject *arguments);
PyObject *append_plain(PyObject *module, PyObject *const *values, Py_ssize_t count);

/* memory.c */
PyObject *bind_append_now(PyObject *module, PyObject *arguments);
PyObject *append_now(PyObject *module, PyObject *const *values, Py_ssize_t count);

/* sending.c */
#define NOT_ATTEMPTED (-1)
Py_ssize_t send_now(int socket, const char *data, Py_ssize_t size);
PyObject *send_all(PyObject *module, PyObject *arguments);

/* fanout.c */
PyObject *bind_fan_out(PyObject *module, PyObject *arguments);
PyObject *fan_out(PyObject *module, PyObject *arguments);

static inline double seconds_of(PyObject *value) { return PyFloat_AsDouble(value); }

static inline struct core *core_of(PyObject *module) {
    return (struct core *)PyModule_GetState(module);
}

#endif
