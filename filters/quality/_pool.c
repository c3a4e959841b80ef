/* The answers of filters to the tokens of captions, pooled. network.py is the same in NumPy, and a test compares the two.

   A filter over three tokens is a sum of what each gives at its place, and that stands in a table, a row a token: what F filters
   give for it before, in the middle and behind, then what F / 2 filters over it alone give. So a caption is a walk along rows of
   tables, and nothing is kept but the largest and the sum of each filter. Tables hold whole steps: two bytes a value, and sums
   that do not depend on the processor. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__linux__)
#define FOR_WIDE_VECTORS __attribute__((target_clones("avx2", "default")))
#else
#define FOR_WIDE_VECTORS
#endif

enum { MOST_FILTERS = 64 };

typedef struct {
    const int16_t *table, *more; /* [rows, width]; `more`, or NULL, is added to tokens whose row in it is not 0 */
    const int32_t *rows, *rows_of_more;
    Py_ssize_t filters, width;
    float step;
} Reader;

/* What the filters give for a token: a row of the table, or the sum of two rows, in `sum`. */
static inline const int16_t *row_of(const Reader *reader, Py_ssize_t token, int16_t *sum) {
    const int16_t *row = reader->table + reader->rows[token] * reader->width;
    if (!reader->more || !reader->rows_of_more[token]) return row;
    const int16_t *more = reader->more + reader->rows_of_more[token] * reader->width;
    for (Py_ssize_t i = 0; i < reader->width; i++) sum[i] = (int16_t)(row[i] + more[i]);
    return sum;
}

/* Pools `count` tokens from `first` on into `pooled`: the largest and the mean of F filters, the mean of F / 2. */
FOR_WIDE_VECTORS static void pool_caption(const Reader *reader, Py_ssize_t first, Py_ssize_t count, float *restrict pooled) {
    static const int16_t none[MOST_FILTERS] = {0};
    int16_t sums[3][4 * MOST_FILTERS];
    int32_t largest[MOST_FILTERS] = {0};
    float total[2 * MOST_FILTERS] = {0}; /* of whole numbers: exact up to 2^24 */
    Py_ssize_t filters = reader->filters, half = reader->width - 3 * filters;
    float *restrict alone = total + filters;
    const int16_t *before = none, *row = row_of(reader, first, sums[0]);
    for (Py_ssize_t token = 0; token < count; token++) {
        const int16_t *next = token + 1 < count ? row_of(reader, first + token + 1, sums[(token + 1) % 3]) : NULL;
        const int16_t *middle = row + filters, *behind = next ? next + 2 * filters : none, *single = row + 3 * filters;
        for (Py_ssize_t i = 0; i < filters; i++) {
            int32_t value = (int32_t)middle[i] + before[i] + behind[i];
            value = value > 0 ? value : 0;
            largest[i] = value > largest[i] ? value : largest[i];
            total[i] += (float)value;
        }
        for (Py_ssize_t i = 0; i < half; i++) alone[i] += (float)(single[i] > 0 ? single[i] : 0);
        before = row;
        row = next;
    }
    float step = reader->step, share = step / (float)count;
    for (Py_ssize_t i = 0; i < filters; i++) pooled[i] = (float)largest[i] * step;
    for (Py_ssize_t i = 0; i < filters + half; i++) pooled[filters + i] = total[i] * share;
}

static int rows_fit(const Py_buffer *rows, Py_ssize_t tokens, Py_ssize_t count) {
    const int32_t *values = rows->buf;
    if (rows->len != 4 * tokens) return 0;
    for (Py_ssize_t i = 0; i < tokens; i++)
        if (values[i] < 0 || values[i] >= count) return 0;
    return 1;
}

/* pool_steps(first int64[N + 1], filters, step, table, rows int32[T], more or empty, rows of more or empty,
   pooled float32[N, 2 F + F / 2]) */
static PyObject *pool_steps(PyObject *self, PyObject *args) {
    (void)self;
    Py_buffer first, table, rows, more, rows_of_more, pooled;
    Py_ssize_t filters;
    float step;
    if (!PyArg_ParseTuple(args, "y*nfy*y*y*y*w*", &first, &filters, &step, &table, &rows, &more, &rows_of_more, &pooled)) return NULL;
    const int64_t *begins = first.buf;
    Py_ssize_t captions = first.len / 8 - 1, width = 3 * filters + filters / 2, outputs = 2 * filters + filters / 2;
    int fits = captions >= 0 && filters > 0 && filters <= MOST_FILTERS;
    for (Py_ssize_t row = 0; fits && row <= captions; row++) fits = begins[row] >= (row ? begins[row - 1] : 0);
    fits = fits && table.len % (2 * width) == 0 && more.len % (2 * width) == 0 && pooled.len == 4 * captions * outputs;
    fits = fits && rows_fit(&rows, begins[captions], table.len / (2 * width));
    fits = fits && (!more.len || rows_fit(&rows_of_more, begins[captions], more.len / (2 * width)));
    if (fits) {
        Reader reader = {table.buf, more.len ? more.buf : NULL, rows.buf, rows_of_more.buf, filters, width, step};
        float *results = pooled.buf;
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t row = 0; row < captions; row++) {
            Py_ssize_t count = begins[row + 1] - begins[row];
            if (count) pool_caption(&reader, begins[row], count, results + row * outputs);
            else memset(results + row * outputs, 0, (size_t)outputs * sizeof(float));
        }
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&first);
    PyBuffer_Release(&table);
    PyBuffer_Release(&rows);
    PyBuffer_Release(&more);
    PyBuffer_Release(&rows_of_more);
    PyBuffer_Release(&pooled);
    if (fits) Py_RETURN_NONE;
    PyErr_SetString(PyExc_ValueError, "arrays of other shapes than the captions and filters need, or rows that no table has");
    return NULL;
}

static PyMethodDef methods[] = {{"pool_steps", pool_steps, METH_VARARGS, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_pairmill_pool", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__pairmill_pool(void) { return PyModuleDef_Init(&module); }
