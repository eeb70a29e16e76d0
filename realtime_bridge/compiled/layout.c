/* Fields of Python's objects by their place: a look-up by name takes ten times as long. */
#include "core.h"
#include <structmember.h>

/* Return the place of a field, as its descriptor has it; -1 with TypeError where it has none. */
static Py_ssize_t find_offset(PyObject *type, const char *name) {
    PyObject *descriptor = PyObject_GetAttrString(type, name);
    if (descriptor == NULL) {
        PyErr_Clear();
    } else if (Py_IS_TYPE(descriptor, &PyMemberDescr_Type)) {
        PyMemberDef *member = ((PyMemberDescrObject *)descriptor)->d_member;
        Py_ssize_t offset = member->type == T_OBJECT_EX ? member->offset : -1;
        Py_DECREF(descriptor);
        if (offset > 0) return offset;
    } else {
        Py_DECREF(descriptor);
    }
    PyErr_Format(PyExc_TypeError, "%R has no field %s in a place of its own", type, name);
    return -1;
}

/* Find the fields of a class; TypeError where another version of Python or msgspec has none. */
int layout_find(struct layout *layout, PyObject *type, const char *const *names, Py_ssize_t count) {
    struct layout found = {.type = (PyTypeObject *)type};
    if (!PyType_Check(type)) {
        PyErr_SetString(PyExc_TypeError, "a class is needed");
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        found.offsets[i] = find_offset(type, names[i]);
        if (found.offsets[i] < 0) return -1;
    }
    Py_INCREF(type);
    Py_XDECREF(layout->type);
    *layout = found;
    return 0;
}

/* Check that objects of a struct have these fields alone: a copy by place would leave out others. */
int layout_check_size(const struct layout *layout, Py_ssize_t count) {
    PyObject *fields = PyObject_GetAttrString((PyObject *)layout->type, "__struct_fields__");
    Py_ssize_t size = fields ? PyObject_Size(fields) : -1;
    Py_XDECREF(fields);
    if (size == count) return 0;
    PyErr_Format(PyExc_TypeError, "%R is no struct of %zd fields", layout->type, count);
    return -1;
}

int find_event(struct core *core, PyObject *type) {
    static const char *const names[] = {"channel", "event", "body", "id", "key", "source", "time",
                                        "position", "has_large_integers", "write", "traceparent"};
    if (layout_find(&core->event, type, names, Py_ARRAY_LENGTH(names)) < 0) return -1;
    return layout_check_size(&core->event, Py_ARRAY_LENGTH(names));
}

int find_position(struct core *core, PyObject *type) {
    static const char *const names[] = {"epoch", "offset", "id"};
    if (layout_find(&core->position, type, names, Py_ARRAY_LENGTH(names)) < 0) return -1;
    return layout_check_size(&core->position, Py_ARRAY_LENGTH(names));
}

/* Return a new object with the fields of another one; its class has these fields alone. */
PyObject *layout_copy(const struct layout *layout, PyObject *object, Py_ssize_t count) {
    PyObject *copy = layout->type->tp_alloc(layout->type, 0);
    for (Py_ssize_t i = 0; copy && i < count; i++)
        FIELD(*layout, copy, i) = Py_XNewRef(FIELD(*layout, object, i));
    return copy;
}
