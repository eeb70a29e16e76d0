/* Publish of one plain event to the memory log, as MemoryBackend.append does it.
 *
 * Where the event is not plain, see history.c, nothing has been stored, and Python appends it.
 */
#include "core.h"

/* Ask the clocks, in the order in which Python asks them. */
static int ask_clocks(struct append *append, PyObject *clock) {
    long long millisecond;
    if (ask_millisecond(append->core, &millisecond) < 0) return -1;
    append->time = PyLong_FromLongLong(millisecond);
    if (append->time == NULL) return -1;
    append->now_object = PyObject_CallNoArgs(clock);
    if (append->now_object == NULL) return -1;
    append->now = seconds_of(append->now_object);
    return PyErr_Occurred() ? -1 : 0;
}

/* Expire a few channels, where that is due. */
static int expire_some(struct append *append, PyObject *histories) {
    struct core *core = append->core;
    double next = seconds_of(FIELD(core->histories, histories, HISTORIES_NEXT_EXPIRY));
    if (PyErr_Occurred()) return -1;
    if (append->now < next) return 0;
    PyObject *result = PyObject_CallMethodOneArg(histories, core->expire_some, append->now_object);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

/* Append an event to its history; return 1 where that was done, 0 where Python has to. */
static int append_to_log(struct append *append, PyObject *histories, PyObject *event) {
    struct core *core = append->core;
    if (expire_some(append, histories) < 0) return -1;
    long long most = PyLong_AsLongLong(FIELD(core->histories, histories, HISTORIES_MAX_BYTES));
    append->room = most - PyLong_AsLongLong(FIELD(core->histories, histories, HISTORIES_MOST_BYTES));
    if (PyErr_Occurred()) return -1;
    PyObject *by_channel = FIELD(core->histories, histories, HISTORIES_BY_CHANNEL);
    if (!PyDict_CheckExact(by_channel)) return 0;
    int status = append_event(append, by_channel, event);
    if (status != 1) return status;
    PyObject *used = PyLong_FromLongLong(most - append->room);
    if (used == NULL) return -1;
    Py_SETREF(FIELD(core->histories, histories, HISTORIES_MOST_BYTES), used);
    return 1;
}

/* Put an event into a queue that has room, as ListenerQueue.put does it; return how many events wait,
 * or -1; 0 where Python has to put it. */
static Py_ssize_t put_event(struct core *core, PyObject *queue, PyObject *stored) {
    if (!IS_OF(core->queue, queue)) return 0;
    PyObject *events = FIELD(core->queue, queue, QUEUE_EVENTS);
    Py_ssize_t capacity = PyLong_AsSsize_t(FIELD(core->queue, queue, QUEUE_CAPACITY));
    if (capacity < 0 && PyErr_Occurred()) return -1;
    if (!PyList_CheckExact(events) || PyList_GET_SIZE(events) >= capacity) return 0;
    if (PyList_Append(events, stored) < 0) return -1;
    Py_ssize_t waiting = PyList_GET_SIZE(events);
    PyObject **is_due = &FIELD(core->queue, queue, QUEUE_IS_DUE);
    if (*is_due == Py_True) return waiting;
    PyObject *schedule = Py_NewRef(FIELD(core->queue, queue, QUEUE_SCHEDULE));
    PyObject *result = PyObject_CallNoArgs(schedule);
    Py_DECREF(schedule);
    if (result == NULL) return -1;
    Py_DECREF(result);
    Py_SETREF(*is_due, Py_NewRef(Py_True));
    return waiting;
}

/* Queue an event for a listener; return how many events wait, or -1. */
static Py_ssize_t queue_event(struct core *core, PyObject *listener, PyObject *stored) {
    if (IS_OF(core->listener, listener)) {
        int subscribed = PyDict_Contains(FIELD(core->listener, listener, LISTENER_CHANNELS),
                                         FIELD(core->event, stored, EVENT_CHANNEL));
        if (subscribed != 1) return subscribed;
        Py_ssize_t waiting = put_event(core, FIELD(core->listener, listener, LISTENER_QUEUE), stored);
        if (waiting != 0) return waiting;
    }
    PyObject *events = PyList_New(1);
    if (events == NULL) return -1;
    PyList_SET_ITEM(events, 0, Py_NewRef(stored));
    PyObject *result = PyObject_CallMethodOneArg(listener, core->receive, events);
    Py_DECREF(events);
    if (result == NULL) return -1;
    Py_ssize_t waiting = PyLong_AsSsize_t(result);
    Py_DECREF(result);
    return PyErr_Occurred() ? -1 : waiting;
}

/* Queue an event for all listeners, and set whether they have to run. */
static int announce(struct core *core, PyObject *feed, PyObject *stored) {
    PyObject *listeners = FIELD(core->feed, feed, FEED_LISTENERS), *listener;
    Py_SETREF(FIELD(core->feed, feed, FEED_MUST_YIELD), Py_NewRef(Py_False));
    /* `receive` only queues and schedules, so no listener begins or ends meanwhile. */
    Py_INCREF(listeners);
    int status = 0;
    Py_ssize_t place = 0;
    while (status == 0 && PyDict_Next(listeners, &place, &listener, NULL)) {
        Py_INCREF(listener);
        Py_ssize_t waiting = queue_event(core, listener, stored);
        Py_DECREF(listener);
        if (waiting < 0) status = -1;
        if (waiting >= core->yield_events)
            Py_SETREF(FIELD(core->feed, feed, FEED_MUST_YIELD), Py_NewRef(Py_True));
    }
    Py_DECREF(listeners);
    return status;
}

PyObject *append_now(PyObject *module, PyObject *const *values, Py_ssize_t count) {
    struct append append = {.core = core_of(module)};
    struct core *core = append.core;
    if (count != 4 || !IS_OF(core->histories, values[0]) || !IS_OF(core->feed, values[1])) {
        PyErr_SetString(PyExc_TypeError, "append_now: histories, feed, clock, event");
        return NULL;
    }
    if (!PyDict_CheckExact(FIELD(core->feed, values[1], FEED_LISTENERS))) Py_RETURN_NONE;
    int status = ask_clocks(&append, values[2]);
    if (status == 0) status = append_to_log(&append, values[0], values[3]);
    PyObject *result = NULL;
    if (status == 0) result = Py_NewRef(Py_None);
    if (status == 1 && announce(core, values[1], append.stored) == 0) result = Py_NewRef(append.receipt);
    Py_XDECREF(append.time);
    Py_XDECREF(append.now_object);
    Py_XDECREF(append.stored);
    Py_XDECREF(append.receipt);
    return result;
}

PyObject *bind_append_now(PyObject *module, PyObject *arguments) {
    static const char *const histories_names[] = {"_by_channel", "_max_bytes", "_most_bytes", "_next_expiry"};
    static const char *const feed_names[] = {"_listeners", "must_yield"};
    static const char *const listener_names[] = {"_channels", "_queue"};
    static const char *const queue_names[] = {"_events", "_capacity", "_is_due", "_schedule"};
    struct core *core = core_of(module);
    PyObject *histories, *feed, *listener, *queue;
    Py_ssize_t yield_events;
    if (!PyArg_ParseTuple(arguments, "OOOOn", &histories, &feed, &listener, &queue, &yield_events)) return NULL;
    if (core->no_keys == NULL || core->time_module == NULL) {
        PyErr_SetString(PyExc_TypeError, "bind append_plain and event_id first");
        return NULL;
    }
    if (layout_find(&core->histories, histories, histories_names, Py_ARRAY_LENGTH(histories_names)) < 0 ||
        layout_find(&core->feed, feed, feed_names, Py_ARRAY_LENGTH(feed_names)) < 0 ||
        layout_find(&core->listener, listener, listener_names, Py_ARRAY_LENGTH(listener_names)) < 0 ||
        layout_find(&core->queue, queue, queue_names, Py_ARRAY_LENGTH(queue_names)) < 0)
        return NULL;
    Py_XSETREF(core->expire_some, PyUnicode_InternFromString("expire_some"));
    Py_XSETREF(core->receive, PyUnicode_InternFromString("receive"));
    if (core->expire_some == NULL || core->receive == NULL) return NULL;
    core->yield_events = yield_events;
    Py_RETURN_NONE;
}
