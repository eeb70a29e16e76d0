/* The module, its functions and its state. */
#include "core.h"

static PyMethodDef methods[] = {
    {"bind_encode_event", bind_encode_event, METH_VARARGS, PyDoc_STR("Set the classes of encode_event.")},
    {"encode_event", encode_event, METH_O, PyDoc_STR("See realtime_bridge.protocol.wire.messages.")},
    {"bind_encode_events", bind_encode_events, METH_VARARGS, PyDoc_STR("Check that encode_event is bound.")},
    {"encode_events", encode_events, METH_O, PyDoc_STR("See realtime_bridge.protocol.wire.messages.")},
    {"bind_event_id", bind_event_id, METH_VARARGS, PyDoc_STR("Set the parts of event_id.")},
    {"event_id", event_id, METH_NOARGS, PyDoc_STR("See realtime_bridge.model.ids.")},
    {"bind_create_event", bind_create_event, METH_VARARGS, PyDoc_STR("Set the classes of create_event.")},
    {"create_event", (PyCFunction)(void (*)(void))create_event, METH_FASTCALL,
     PyDoc_STR("See realtime_bridge.model.event.")},
    {"bind_append_plain", bind_append_plain, METH_VARARGS, PyDoc_STR("Set the classes of append_plain.")},
    {"append_plain", (PyCFunction)(void (*)(void))append_plain, METH_FASTCALL,
     PyDoc_STR("See realtime_bridge.protocol.publishing.plain_append.")},
    {"bind_append_now", bind_append_now, METH_VARARGS, PyDoc_STR("Set the classes of append_now.")},
    {"append_now", (PyCFunction)(void (*)(void))append_now, METH_FASTCALL,
     PyDoc_STR("See realtime_bridge_backends.memory.")},
    {"bind_fan_out", bind_fan_out, METH_VARARGS, PyDoc_STR("Set the classes of fan_out.")},
    {"fan_out", fan_out, METH_VARARGS, PyDoc_STR("See realtime_bridge.server.fanout.flush.")},
    {"send_all", send_all, METH_VARARGS, PyDoc_STR("See realtime_bridge.server.fanout.sending.")},
    {NULL, NULL, 0, NULL},
};

static int traverse(PyObject *module, visitproc visit, void *arg) {
    struct core *core = core_of(module);
#define VISIT_LAYOUT(name) Py_VISIT(core->name.type);
    LAYOUTS(VISIT_LAYOUT)
#define VISIT_OBJECT(name) Py_VISIT(core->name);
    OBJECTS(VISIT_OBJECT)
    return 0;
}

static int clear(PyObject *module) {
    struct core *core = core_of(module);
#define CLEAR_LAYOUT(name) Py_CLEAR(core->name.type);
    LAYOUTS(CLEAR_LAYOUT)
#define CLEAR_OBJECT(name) Py_CLEAR(core->name);
    OBJECTS(CLEAR_OBJECT)
    return 0;
}

static void free_module(void *module) {
    clear(module);
    PyMem_Free(core_of(module)->delay_bounds);
}

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_core",
    .m_size = sizeof(struct core),
    .m_methods = methods,
    .m_slots = slots,
    .m_traverse = traverse,
    .m_clear = clear,
    .m_free = free_module,
};

PyMODINIT_FUNC PyInit__core(void) { return PyModuleDef_Init(&definition); }
