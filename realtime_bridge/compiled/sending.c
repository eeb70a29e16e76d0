/* Writing to sockets without the interpreter's lock, and server/fanout/sending.py's loop in C. */
#include "core.h"
#include <errno.h>
#include <limits.h>
#include <sys/socket.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* macOS; Python ignores SIGPIPE anyway */
#endif

#define CLOSED (-1) /* or a function, which was called */

/* Write to a socket; return how many bytes it took, which is 0 for one that cannot be written to. */
Py_ssize_t send_now(int socket, const char *data, Py_ssize_t size) {
    Py_ssize_t sent;
    do {
        /* A closed socket must not raise SIGPIPE, and a full one must not block. */
        sent = send(socket, data, (size_t)size, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? 0 : sent;
}

/* Call a target that is a function; after a network error it has taken nothing. */
static Py_ssize_t call(PyObject *target, PyObject *data) {
    PyObject *result = PyObject_CallOneArg(target, data);
    if (result == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_OSError)) return -1;
        PyErr_Clear();
        return 0;
    }
    Py_ssize_t sent = PyLong_AsSsize_t(result);
    Py_DECREF(result);
    return sent;
}

/* Collect the sockets' numbers, and call the targets that are functions. */
static int collect_sockets(PyObject *targets, PyObject *data, int *sockets, Py_ssize_t *sent) {
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(targets); i++) {
        PyObject *target = PySequence_Fast_GET_ITEM(targets, i);
        if (PyLong_Check(target)) {
            long socket = PyLong_AsLong(target);
            /* Beyond the range of a number of sockets, as for a closed one, nothing is taken. */
            sockets[i] = socket < 0 || socket > INT_MAX ? CLOSED : (int)socket;
            sent[i] = 0;
        } else {
            sockets[i] = CLOSED;
            sent[i] = call(target, data);
        }
        if (PyErr_Occurred()) return -1;
    }
    return 0;
}

static PyObject *short_writes(const Py_ssize_t *sent, Py_ssize_t count, Py_ssize_t size) {
    PyObject *list = PyList_New(0);
    for (Py_ssize_t i = 0; list && i < count; i++) {
        if (sent[i] == size) continue;
        PyObject *pair = Py_BuildValue("nn", i, sent[i]);
        if (pair == NULL || PyList_Append(list, pair) < 0) Py_CLEAR(list);
        Py_XDECREF(pair);
    }
    return list;
}

PyObject *send_all(PyObject *module, PyObject *arguments) {
    (void)module;
    PyObject *iterable, *bytes, *short_list = NULL;
    if (!PyArg_ParseTuple(arguments, "OS:send_all", &iterable, &bytes)) return NULL;
    PyObject *targets = PySequence_Fast(iterable, "targets are iterable");
    if (targets == NULL) return NULL;
    Py_ssize_t count = PySequence_Fast_GET_SIZE(targets), size = PyBytes_GET_SIZE(bytes);
    int *sockets = PyMem_New(int, count);
    Py_ssize_t *sent = PyMem_New(Py_ssize_t, count);
    if (sockets == NULL || sent == NULL) {
        PyErr_NoMemory();
    } else if (collect_sockets(targets, bytes, sockets, sent) == 0) {
        const char *data = PyBytes_AS_STRING(bytes);
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t i = 0; i < count; i++)
            if (sockets[i] != CLOSED) sent[i] = send_now(sockets[i], data, size);
        Py_END_ALLOW_THREADS
        short_list = short_writes(sent, count, size);
    }
    PyMem_Free(sockets);
    PyMem_Free(sent);
    Py_DECREF(targets);
    return short_list;
}
