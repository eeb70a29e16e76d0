/* Loop of sending.send_all in C: the interpreter's lock is released once for all sockets. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <sys/socket.h>

#define CALLED (-1)

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
            sockets[i] = (int)PyLong_AsLong(target);
        } else {
            sockets[i] = CALLED;
            sent[i] = call(target, data);
        }
        if (PyErr_Occurred()) return -1;
    }
    return 0;
}

static void send_to(const int *sockets, Py_ssize_t count, const char *data, Py_ssize_t size,
                    Py_ssize_t *sent) {
    for (Py_ssize_t i = 0; i < count; i++) {
        if (sockets[i] == CALLED) continue;
        do {
            /* A closed socket must not raise SIGPIPE, and a full one must not block. */
            sent[i] = send(sockets[i], data, (size_t)size, MSG_NOSIGNAL | MSG_DONTWAIT);
        } while (sent[i] < 0 && errno == EINTR);
        if (sent[i] < 0) sent[i] = 0;
    }
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

static PyObject *send_all(PyObject *module, PyObject *arguments) {
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
        send_to(sockets, count, data, size, sent);
        Py_END_ALLOW_THREADS
        short_list = short_writes(sent, count, size);
    }
    PyMem_Free(sockets);
    PyMem_Free(sent);
    Py_DECREF(targets);
    return short_list;
}

static PyMethodDef methods[] = {
    {"send_all", send_all, METH_VARARGS, PyDoc_STR("See realtime_bridge.server.fanout.sending.")},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, .m_name = "_sending", .m_size = 0, .m_methods = methods,
};

PyMODINIT_FUNC PyInit__sending(void) { return PyModuleDef_Init(&module); }
