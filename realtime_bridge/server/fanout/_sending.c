/* The loop of sending.send_all in C, with one release of the interpreter's lock for all sockets. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <sys/socket.h>

#define CALLED (-1)

/* Call an outlet that is no socket; a failure of the network means that it took nothing. */
static Py_ssize_t call(PyObject *outlet, PyObject *ready) {
    PyObject *answer = PyObject_CallOneArg(outlet, ready);
    if (answer == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_OSError)) return -1;
        PyErr_Clear();
        return 0;
    }
    Py_ssize_t sent = PyLong_AsSsize_t(answer);
    Py_DECREF(answer);
    return sent;
}

/* Fill in the sockets' numbers, and call whatever is none. */
static int sort_out(PyObject *outlets, PyObject *ready, int *sockets, Py_ssize_t *sent) {
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(outlets); i++) {
        PyObject *outlet = PySequence_Fast_GET_ITEM(outlets, i);
        if (PyLong_Check(outlet)) {
            sockets[i] = (int)PyLong_AsLong(outlet);
        } else {
            sockets[i] = CALLED;
            sent[i] = call(outlet, ready);
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
            sent[i] = send(sockets[i], data, (size_t)size, MSG_NOSIGNAL | MSG_DONTWAIT);
        } while (sent[i] < 0 && errno == EINTR);
        if (sent[i] < 0) sent[i] = 0;
    }
}

static PyObject *short_ones(const Py_ssize_t *sent, Py_ssize_t count, Py_ssize_t size) {
    PyObject *found = PyList_New(0);
    for (Py_ssize_t i = 0; found && i < count; i++) {
        if (sent[i] == size) continue;
        PyObject *pair = Py_BuildValue("nn", i, sent[i]);
        if (pair == NULL || PyList_Append(found, pair) < 0) Py_CLEAR(found);
        Py_XDECREF(pair);
    }
    return found;
}

static PyObject *send_all(PyObject *module, PyObject *arguments) {
    (void)module;
    PyObject *given, *ready, *found = NULL;
    if (!PyArg_ParseTuple(arguments, "OS:send_all", &given, &ready)) return NULL;
    PyObject *outlets = PySequence_Fast(given, "outlets are iterable");
    if (outlets == NULL) return NULL;
    Py_ssize_t count = PySequence_Fast_GET_SIZE(outlets), size = PyBytes_GET_SIZE(ready);
    int *sockets = PyMem_New(int, count);
    Py_ssize_t *sent = PyMem_New(Py_ssize_t, count);
    if (sockets == NULL || sent == NULL) {
        PyErr_NoMemory();
    } else if (sort_out(outlets, ready, sockets, sent) == 0) {
        const char *data = PyBytes_AS_STRING(ready);
        Py_BEGIN_ALLOW_THREADS
        send_to(sockets, count, data, size, sent);
        Py_END_ALLOW_THREADS
        found = short_ones(sent, count, size);
    }
    PyMem_Free(sockets);
    PyMem_Free(sent);
    Py_DECREF(outlets);
    return found;
}

static PyMethodDef methods[] = {
    {"send_all", send_all, METH_VARARGS, PyDoc_STR("See realtime_bridge.server.sending.")},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, .m_name = "_sending", .m_size = 0, .m_methods = methods,
};

PyMODINIT_FUNC PyInit__sending(void) { return PyModuleDef_Init(&module); }
