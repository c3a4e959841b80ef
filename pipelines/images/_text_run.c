/* Whether bytes hold a run of text. text_run.py says what text is, and is the same in Python; a test compares the two.

   A run of N bytes that ends at or behind a place covers the N bytes up to some end; these are looked at from their last one back. At
   the first that is no text no run can begin before it, so the next end is N bytes behind it: of random bytes one in 100 is read. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

static int is_text(unsigned char byte) { return (byte >= ' ' && byte < 127) || byte == '\t' || byte == '\n' || byte == '\r'; }

static int has_run(const unsigned char *bytes, Py_ssize_t start, Py_ssize_t end, Py_ssize_t least) {
    for (Py_ssize_t stop = start + least; stop <= end;) {
        Py_ssize_t at = stop;
        while (at > stop - least && is_text(bytes[at - 1])) at--;
        if (at == stop - least) return 1;
        stop = at + least;
    }
    return 0;
}

static PyObject *py_has_run(PyObject *self, PyObject *arguments) {
    (void)self;
    Py_buffer view;
    Py_ssize_t start, end, least;
    if (!PyArg_ParseTuple(arguments, "y*nnn", &view, &start, &end, &least)) return NULL;
    int is_sound = start >= 0 && end <= view.len && least > 0;
    int found = is_sound && has_run(view.buf, start, end, least);
    PyBuffer_Release(&view);
    if (!is_sound) return PyErr_Format(PyExc_ValueError, "has_run takes 0 <= start, end <= size and a run of 1 byte or more");
    return PyBool_FromLong(found);
}

static PyMethodDef methods[] = {
    {"has_run", py_has_run, METH_VARARGS, "has_run(bytes, start, end, least): whether they hold so long a run of text."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_pairmill_text_run", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__pairmill_text_run(void) { return PyModuleDef_Init(&module); }
