/* Fan-out of the events of one loop turn: one flush for all channels whose subscribers are sockets.
 *
 * Four steps: group the events by channel, encode them, commit, send. Python code can run in the second
 * alone, so the third checks each channel again. From there to the last byte nothing else runs on the
 * loop's thread: no socket is closed, and its number given to another, between commit and send.
 */
#include "core.h"

#define NONE (-1)
#define MAX_BOUNDS 31

/* Channel with new events. */
struct group {
    PyObject *fanout, *before, *after; /* the fan-out; its position before and after the events */
    PyObject *epoch;                   /* borrowed from `before` */
    long long offset;
    Py_ssize_t first, last, count; /* events, by their index */
    Py_ssize_t start, size;        /* frames, in the buffer */
    Py_ssize_t first_target, target_count;
    int is_left; /* Python decides about the rest of its events */
    int is_failed; /* Python decides about all of them */
};

struct turn {
    struct core *core;
    PyObject *events, *left, *unwritten; /* lists: all events, those for Python, and unwritten frames */
    Py_ssize_t count;
    struct group *groups;
    Py_ssize_t group_count;
    Py_ssize_t *table, mask; /* hash table from fan-outs to groups */
    Py_ssize_t *next;        /* for each event, the next one of its group */
    char *is_taken;          /* for each event, whether it belongs to a group */
    struct buffer frames;
    int *sockets;
    Py_ssize_t *sent;
    Py_ssize_t target_count, target_room;
    unsigned char *is_blocked; /* by number of a socket: it did not take all of an earlier frame */
    int highest;
};

static int is_empty(PyObject *value) {
    return value && PyDict_CheckExact(value) && PyDict_GET_SIZE(value) == 0;
}

/* Return whether the channel has subscribers with sockets alone, and no work but the fan-out. */
static int is_plain(struct core *core, PyObject *fanout) {
    PyObject *fast = FIELD(core->fanout, fanout, FANOUT_FAST);
    PyObject *position = FIELD(core->fanout, fanout, FANOUT_POSITION);
    return FIELD(core->fanout, fanout, FANOUT_RECOVERING) == Py_False &&
           FIELD(core->fanout, fanout, FANOUT_SPEAKS_OTHER) == Py_False &&
           is_empty(FIELD(core->fanout, fanout, FANOUT_SUBSCRIBERS)) &&
           is_empty(FIELD(core->fanout, fanout, FANOUT_AHEAD)) &&
           is_empty(FIELD(core->fanout, fanout, FANOUT_READING)) && fast && PyDict_CheckExact(fast) &&
           position && IS_OF(core->position, position);
}

/* Return the group of a fan-out, which may be new. */
static struct group *find_group(struct turn *turn, PyObject *fanout) {
    struct core *core = turn->core;
    size_t place = ((size_t)fanout >> 4) & (size_t)turn->mask;
    while (turn->table[place] != NONE) {
        struct group *group = &turn->groups[turn->table[place]];
        if (group->fanout == fanout) return group;
        place = (place + 1) & (size_t)turn->mask;
    }
    struct group *group = &turn->groups[turn->group_count];
    turn->table[place] = turn->group_count++;
    *group = (struct group){.fanout = Py_NewRef(fanout), .first = NONE, .last = NONE};
    group->is_left = !is_plain(core, fanout);
    if (!group->is_left) {
        group->before = Py_NewRef(FIELD(core->fanout, fanout, FANOUT_POSITION));
        group->epoch = FIELD(core->position, group->before, POSITION_EPOCH);
        group->offset = PyLong_AsLongLong(FIELD(core->position, group->before, POSITION_OFFSET));
    }
    return group;
}

/* Return whether an event follows the last one of its group. */
static int is_next(struct core *core, struct group *group, PyObject *event) {
    PyObject *position = FIELD(core->event, event, EVENT_POSITION);
    if (!IS_OF(core->position, position)) return 0;
    PyObject *epoch = FIELD(core->position, position, POSITION_EPOCH);
    if (epoch != group->epoch && PyUnicode_Compare(epoch, group->epoch) != 0) return 0;
    return PyLong_AsLongLong(FIELD(core->position, position, POSITION_OFFSET)) == group->offset + 1;
}

static void group_event(struct turn *turn, PyObject *fanouts, Py_ssize_t index) {
    struct core *core = turn->core;
    PyObject *event = PyList_GET_ITEM(turn->events, index);
    if (!IS_OF(core->event, event)) return;
    PyObject *fanout = PyDict_GetItemWithError(fanouts, FIELD(core->event, event, EVENT_CHANNEL));
    if (fanout == NULL || !IS_OF(core->fanout, fanout)) return;
    struct group *group = find_group(turn, fanout);
    if (group->is_left || !is_next(core, group, event)) {
        group->is_left = 1; /* later events of the channel must not overtake this one */
        return;
    }
    if (group->last == NONE) {
        group->first = index;
    } else {
        turn->next[group->last] = index;
    }
    group->last = index;
    group->count++;
    group->offset++;
    turn->is_taken[index] = 1;
}

static int group_events(struct turn *turn, PyObject *fanouts) {
    for (Py_ssize_t i = 0; i < turn->count; i++) {
        group_event(turn, fanouts, i);
        if (PyErr_Occurred()) return -1;
    }
    return 0;
}

/* Return the position of an event, with the event's id. */
static PyObject *position_of(struct core *core, PyObject *event) {
    PyObject *position = FIELD(core->event, event, EVENT_POSITION);
    if (FIELD(core->position, position, POSITION_ID) != Py_None) return Py_NewRef(position);
    PyObject *copy = layout_copy(&core->position, position, POSITION_FIELDS);
    if (copy)
        Py_SETREF(FIELD(core->position, copy, POSITION_ID),
                  Py_NewRef(FIELD(core->event, event, EVENT_ID)));
    return copy;
}

static int encode_groups(struct turn *turn) {
    struct core *core = turn->core;
    for (Py_ssize_t i = 0; i < turn->group_count; i++) {
        struct group *group = &turn->groups[i];
        group->start = turn->frames.size;
        if (group->count == 0) continue;
        group->after = position_of(core, PyList_GET_ITEM(turn->events, group->last));
        if (group->after == NULL) return -1;
        if (PyDict_GET_SIZE(FIELD(core->fanout, group->fanout, FANOUT_FAST)) == 0) continue;
        for (Py_ssize_t event = group->first; event != NONE; event = turn->next[event])
            if (encode_event_frame(core, PyList_GET_ITEM(turn->events, event), &turn->frames) < 0)
                return -1;
        group->size = turn->frames.size - group->start;
    }
    return 0;
}

static int reserve_targets(struct turn *turn, Py_ssize_t more) {
    if (turn->target_count + more <= turn->target_room) return 0;
    turn->target_room = 2 * turn->target_room + more;
    PyMem_Resize(turn->sockets, int, turn->target_room);
    if (turn->sockets) PyMem_Resize(turn->sent, Py_ssize_t, turn->target_room);
    if (turn->sockets && turn->sent) return 0;
    PyErr_NoMemory();
    return -1;
}

/* Collect the sockets of a group; return whether all its targets are sockets. */
static int collect_targets(struct turn *turn, struct group *group) {
    PyObject *fast = FIELD(turn->core->fanout, group->fanout, FANOUT_FAST), *target;
    Py_ssize_t place = 0;
    group->first_target = turn->target_count;
    if (reserve_targets(turn, PyDict_GET_SIZE(fast)) < 0) return 0;
    while (PyDict_Next(fast, &place, NULL, &target)) {
        int overflow = 0;
        long socket = PyLong_CheckExact(target) ? PyLong_AsLongAndOverflow(target, &overflow) : NONE;
        if (overflow || socket < 0 || socket > 1 << 24) {
            turn->target_count = group->first_target;
            return 0;
        }
        turn->sockets[turn->target_count] = (int)socket;
        turn->sent[turn->target_count++] = NOT_ATTEMPTED;
        if (socket > turn->highest) turn->highest = (int)socket;
    }
    group->target_count = turn->target_count - group->first_target;
    return 1;
}

/* Move the channels to their new positions, unless something has changed them since they were grouped. */
static int commit(struct turn *turn) {
    struct core *core = turn->core;
    for (Py_ssize_t i = 0; i < turn->group_count; i++) {
        struct group *group = &turn->groups[i];
        if (group->count == 0) continue;
        group->is_failed = !is_plain(core, group->fanout) ||
                           FIELD(core->fanout, group->fanout, FANOUT_POSITION) != group->before ||
                           !collect_targets(turn, group) || (group->target_count && !group->size);
        if (PyErr_Occurred()) return -1;
    }
    turn->is_blocked = PyMem_Calloc((size_t)turn->highest / 8 + 1, 1);
    if (turn->is_blocked == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < turn->group_count; i++) {
        struct group *group = &turn->groups[i];
        if (group->count && !group->is_failed)
            Py_SETREF(FIELD(core->fanout, group->fanout, FANOUT_POSITION), Py_NewRef(group->after));
    }
    return 0;
}

/* Write all frames. After a short write to a socket, the later frames of that socket have to wait. */
static void send_groups(struct turn *turn) {
    for (Py_ssize_t i = 0; i < turn->group_count; i++) {
        struct group *group = &turn->groups[i];
        if (group->is_failed) continue;
        Py_ssize_t end = group->first_target + group->target_count;
        for (Py_ssize_t target = group->first_target; target < end; target++) {
            int socket = turn->sockets[target];
            unsigned char bit = (unsigned char)(1 << socket % 8);
            if (turn->is_blocked[socket / 8] & bit) continue;
            turn->sent[target] = send_now(socket, turn->frames.data + group->start, group->size);
            if (turn->sent[target] != group->size) turn->is_blocked[socket / 8] |= bit;
        }
    }
}

/* Return the events of a group. */
static PyObject *events_of(struct turn *turn, struct group *group) {
    PyObject *events = PyList_New(0);
    for (Py_ssize_t i = group->first; events && i != NONE; i = turn->next[i])
        if (PyList_Append(events, PyList_GET_ITEM(turn->events, i)) < 0) Py_CLEAR(events);
    return events;
}

/* Append what one subscriber did not get: the rest of the frames, or None and all the events. */
static int add_unwritten(struct turn *turn, struct group *group, PyObject *subscriber,
                         Py_ssize_t sent) {
    PyObject *events = events_of(turn, group), *rest, *item = NULL;
    if (sent == NOT_ATTEMPTED) {
        rest = Py_NewRef(Py_None);
    } else {
        rest = PyBytes_FromStringAndSize(turn->frames.data + group->start + sent, group->size - sent);
    }
    if (events && rest) item = PyTuple_Pack(4, group->fanout, subscriber, rest, events);
    int status = item ? PyList_Append(turn->unwritten, item) : -1;
    Py_XDECREF(events);
    Py_XDECREF(rest);
    Py_XDECREF(item);
    return status;
}

/* Append a group's unwritten frames. Subscribers are found by their sockets: a thread may have removed
 * one while the lock was released. */
static int add_unwritten_of_group(struct turn *turn, struct group *group) {
    PyObject *fast = FIELD(turn->core->fanout, group->fanout, FANOUT_FAST), *subscriber, *target;
    for (Py_ssize_t i = 0; i < group->target_count; i++) {
        Py_ssize_t sent = turn->sent[group->first_target + i], place = 0;
        if (sent == group->size) continue;
        while (PyDict_Next(fast, &place, &subscriber, &target)) {
            if (!PyLong_CheckExact(target) ||
                PyLong_AsLong(target) != turn->sockets[group->first_target + i])
                continue;
            if (add_unwritten(turn, group, subscriber, sent) < 0) return -1;
            break;
        }
    }
    return 0;
}

/* Append the events that Python decides about, in order. */
static int add_left_events(struct turn *turn) {
    for (Py_ssize_t i = 0; i < turn->group_count; i++)
        if (turn->groups[i].is_failed)
            for (Py_ssize_t event = turn->groups[i].first; event != NONE; event = turn->next[event])
                turn->is_taken[event] = 0;
    for (Py_ssize_t i = 0; i < turn->count; i++)
        if (!turn->is_taken[i] && PyList_Append(turn->left, PyList_GET_ITEM(turn->events, i)) < 0)
            return -1;
    return 0;
}

/* Count the delay of an event in its bucket, and return the delay. */
static double count_delay(struct core *core, PyObject *event, double now, Py_ssize_t *buckets) {
    PyObject *time = FIELD(core->event, event, EVENT_TIME);
    double sent = PyLong_CheckExact(time) ? PyLong_AsDouble(time) / 1000 : 0;
    double delay = sent > 0 && now > sent ? now - sent : 0;
    Py_ssize_t bucket = 0;
    while (bucket < core->delay_bound_count && core->delay_bounds[bucket] < delay) bucket++;
    buckets[bucket]++;
    return delay;
}

/* Return the numbers of the buckets that are not empty, each with its count. */
static PyObject *filled_buckets(struct core *core, const Py_ssize_t *buckets) {
    PyObject *list = PyList_New(0);
    for (Py_ssize_t i = 0; list && i <= core->delay_bound_count; i++) {
        if (buckets[i] == 0) continue;
        PyObject *pair = Py_BuildValue("nn", i, buckets[i]);
        if (pair == NULL || PyList_Append(list, pair) < 0) Py_CLEAR(list);
        Py_XDECREF(pair);
    }
    return list;
}

/* Return the counts of the events that were fanned out: events, deliveries, delays and their sum. */
static PyObject *counts_of(struct turn *turn, double now) {
    struct core *core = turn->core;
    Py_ssize_t announced = 0, deliveries = 0, buckets[MAX_BOUNDS + 1] = {0};
    double sum = 0;
    for (Py_ssize_t i = 0; i < turn->group_count; i++) {
        struct group *group = &turn->groups[i];
        if (group->is_failed) continue;
        announced += group->count;
        deliveries += group->count * group->target_count;
        for (Py_ssize_t event = group->first; event != NONE; event = turn->next[event])
            sum += count_delay(core, PyList_GET_ITEM(turn->events, event), now, buckets);
    }
    PyObject *delays = filled_buckets(core, buckets);
    return delays ? Py_BuildValue("nnNd", announced, deliveries, delays, sum) : NULL;
}

/* Write to the sockets, and return what is left: events, unwritten frames, counts. */
static PyObject *flush(struct turn *turn, double now) {
    Py_BEGIN_ALLOW_THREADS
    send_groups(turn);
    Py_END_ALLOW_THREADS
    for (Py_ssize_t i = 0; i < turn->group_count; i++)
        if (!turn->groups[i].is_failed && add_unwritten_of_group(turn, &turn->groups[i]) < 0) return NULL;
    PyObject *counts = add_left_events(turn) < 0 ? NULL : counts_of(turn, now);
    return counts ? Py_BuildValue("OON", turn->left, turn->unwritten, counts) : NULL;
}

static int turn_begin(struct turn *turn) {
    Py_ssize_t places = 16;
    while (places < 2 * turn->count) places *= 2;
    turn->mask = places - 1;
    turn->groups = PyMem_New(struct group, turn->count);
    turn->table = PyMem_New(Py_ssize_t, places);
    turn->next = PyMem_New(Py_ssize_t, turn->count);
    turn->is_taken = PyMem_Calloc((size_t)turn->count + 1, 1);
    if (!turn->groups || !turn->table || !turn->next || !turn->is_taken) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < places; i++) turn->table[i] = NONE;
    for (Py_ssize_t i = 0; i < turn->count; i++) turn->next[i] = NONE;
    return 0;
}

static void turn_end(struct turn *turn) {
    for (Py_ssize_t i = 0; i < turn->group_count; i++) {
        Py_XDECREF(turn->groups[i].fanout);
        Py_XDECREF(turn->groups[i].before);
        Py_XDECREF(turn->groups[i].after);
    }
    PyMem_Free(turn->groups);
    PyMem_Free(turn->table);
    PyMem_Free(turn->next);
    PyMem_Free(turn->is_taken);
    PyMem_Free(turn->frames.data);
    PyMem_Free(turn->sockets);
    PyMem_Free(turn->sent);
    PyMem_Free(turn->is_blocked);
    Py_XDECREF(turn->events);
    Py_XDECREF(turn->left);
    Py_XDECREF(turn->unwritten);
}

PyObject *fan_out(PyObject *module, PyObject *arguments) {
    struct turn turn = {.core = core_of(module)};
    PyObject *events, *fanouts, *result = NULL;
    double now;
    if (!PyArg_ParseTuple(arguments, "OO!d:fan_out", &events, &PyDict_Type, &fanouts, &now)) return NULL;
    /* A list of its own: nothing changes it while the lock is released. */
    turn.events = PySequence_List(events);
    /* All lists now: the collection of garbage, which a new list can begin, may close sockets. */
    turn.left = PyList_New(0);
    turn.unwritten = PyList_New(0);
    if (turn.events) turn.count = PyList_GET_SIZE(turn.events);
    if (turn.events && turn.left && turn.unwritten && turn_begin(&turn) == 0 && group_events(&turn, fanouts) == 0 && encode_groups(&turn) == 0 &&
        commit(&turn) == 0)
        result = flush(&turn, now);
    turn_end(&turn);
    return result;
}

PyObject *bind_fan_out(PyObject *module, PyObject *arguments) {
    static const char *const names[] = {"position", "fast_subscribers", "recovering", "speaks_other",
                                        "subscribers", "ahead_of_feed", "reading_history"};
    struct core *core = core_of(module);
    PyObject *fanout, *bounds;
    if (!PyArg_ParseTuple(arguments, "OO!", &fanout, &PyTuple_Type, &bounds)) return NULL;
    if (core->encode_in_python == NULL || PyTuple_GET_SIZE(bounds) > MAX_BOUNDS) {
        PyErr_SetString(PyExc_TypeError, "bind encode_event first, and at most 31 bounds");
        return NULL;
    }
    if (layout_find(&core->fanout, fanout, names, Py_ARRAY_LENGTH(names)) < 0) return NULL;
    double *values = PyMem_New(double, PyTuple_GET_SIZE(bounds));
    if (values == NULL) return PyErr_NoMemory();
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(bounds); i++)
        values[i] = PyFloat_AsDouble(PyTuple_GET_ITEM(bounds, i));
    PyMem_Free(core->delay_bounds);
    core->delay_bounds = values;
    core->delay_bound_count = PyTuple_GET_SIZE(bounds);
    if (PyErr_Occurred()) return NULL;
    Py_RETURN_NONE;
}
