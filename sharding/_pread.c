/* Reads many ranges of open files. In Python each read would give the interpreter's lock away and wait for it again, behind threads
   that decode; here it is given away once for all of them, and what lies close together is read by one call of the system: a sample's
   members do, and samples that follow each other. pread.py is the same in Python, and a test compares the two. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <stdint.h>
#include <sys/uio.h>
#include <unistd.h>

/* The longest gap that is read rather than skipped; the pieces, ranges and gaps, of one call; and a length beyond all files. */
enum { GAP = 4096, PIECES = 128 };
static const int64_t BEYOND = INT64_MAX / 4;

typedef struct {
    int64_t file, start, length;
} Range;

/* Fills `data` from the file, as far as it goes; the number of bytes read, or -1 - errno. */
static int64_t fill(const Range *range, char *data) {
    int64_t read = 0;
    while (read < range->length) {
        ssize_t count = pread((int)range->file, data + read, (size_t)(range->length - read), (off_t)(range->start + read));
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return -1 - errno;
        if (count == 0) break;
        read += count;
    }
    return read;
}

/* Reads the first range and, by the same call, those that lie close behind each other in its file; each by itself where not all bytes
   came. Returns how many. */
static Py_ssize_t fill_neighbours(const Range *ranges, PyObject **datas, int64_t *read, Py_ssize_t count) {
    struct iovec pieces[PIECES];
    char gap[GAP];
    int used = 0;
    int64_t end = ranges->start;
    Py_ssize_t near = 0;
    for (; near < count && used + 2 <= PIECES; near++) {
        const Range *range = &ranges[near];
        int64_t between = range->start - end;
        if (range->file != ranges->file || between < 0 || between > GAP) break;
        if (range->start > BEYOND || range->length > BEYOND) break;
        if (between) pieces[used++] = (struct iovec){gap, (size_t)between};
        pieces[used++] = (struct iovec){PyBytes_AS_STRING(datas[near]), (size_t)range->length};
        end = range->start + range->length;
    }
    int whole = near > 1 && preadv((int)ranges->file, pieces, used, (off_t)ranges->start) == end - ranges->start;
    if (!near) near = 1;
    for (Py_ssize_t i = 0; i < near; i++) read[i] = whole ? ranges[i].length : fill(&ranges[i], PyBytes_AS_STRING(datas[i]));
    return near;
}

static PyObject *result_of(PyObject *data, int64_t length, int64_t read) {
    if (read < 0) return PyLong_FromLongLong(-read - 1);
    if (read < length) return PyBytes_FromStringAndSize(PyBytes_AS_STRING(data), (Py_ssize_t)read);
    return Py_NewRef(data);
}

static PyObject *read_ranges(PyObject *self, PyObject *argument) {
    Py_buffer buffer;
    (void)self;
    if (PyObject_GetBuffer(argument, &buffer, PyBUF_C_CONTIGUOUS) < 0) return NULL;
    Py_ssize_t count = buffer.len / (Py_ssize_t)sizeof(Range), made = 0;
    const Range *ranges = buffer.buf;
    PyObject *results = NULL, **datas = PyMem_Calloc((size_t)count + 1, sizeof(PyObject *));
    int64_t *read = PyMem_Calloc((size_t)count + 1, sizeof(int64_t));
    if (!datas || !read) PyErr_NoMemory();
    for (; datas && read && made < count; made++) {
        if (ranges[made].start < 0 || ranges[made].length < 0) {
            PyErr_SetString(PyExc_ValueError, "a range begins before the file or has less than no bytes");
            break;
        }
        datas[made] = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)ranges[made].length);
        if (!datas[made]) break;
    }
    if (!PyErr_Occurred()) {
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t i = 0; i < count;) i += fill_neighbours(&ranges[i], &datas[i], &read[i], count - i);
        Py_END_ALLOW_THREADS
        results = PyList_New(count);
        for (Py_ssize_t i = 0; results && i < count; i++) {
            PyObject *result = result_of(datas[i], ranges[i].length, read[i]);
            if (result) PyList_SET_ITEM(results, i, result);
            else Py_CLEAR(results);
        }
    }
    for (Py_ssize_t i = 0; datas && i < made; i++) Py_DECREF(datas[i]);
    PyMem_Free(datas);
    PyMem_Free(read);
    PyBuffer_Release(&buffer);
    return results;
}

static PyMethodDef methods[] = {{"read_ranges", read_ranges, METH_O, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_pairmill_pread", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__pairmill_pread(void) { return PyModuleDef_Init(&module); }
