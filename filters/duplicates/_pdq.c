/* PDQ of a picture. pdq.py is the same in NumPy, and a test compares the two.

   Sums run in one order, without fused multiplication, so that every processor gives the same bits. All is one function: rows are
   weighted sums of other rows, whose columns the compiler takes 8 at a time; the other axis is had by transposing. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__linux__)
#define FOR_WIDE_VECTORS __attribute__((target_clones("avx2", "default")))
#else
#define FOR_WIDE_VECTORS
#endif

enum { SAMPLES = 64, LOW = 16, BITS = LOW * LOW, BYTES = BITS / 8, QUALITY_SCALE = 90, BEST = 100, LONGEST = 1 << 24 };

/* For each of `rows` new rows the first old row that it covers, and the weights of `taps` old rows from there on. */
typedef struct {
    int rows, taps;
    const int32_t *first;
    const float *weights;
} Axis;

FOR_WIDE_VECTORS static void luma_of(const uint8_t *restrict pixels, size_t count, float *restrict luma) {
    for (size_t i = 0; i < count; i++) {
        float red = 0.299f * (float)pixels[3 * i], green = 0.587f * (float)pixels[3 * i + 1], blue = 0.114f * (float)pixels[3 * i + 2];
        luma[i] = red + green + blue;
    }
}

FOR_WIDE_VECTORS static void weighted_rows(const Axis *axis, const float *restrict from, size_t wide, float *restrict to) {
    memset(to, 0, axis->rows * wide * sizeof *to);
    for (int i = 0; i < axis->rows; i++) {
        float *restrict row = to + i * wide;
        for (int k = 0; k < axis->taps; k++) {
            const float *restrict old = from + (axis->first[i] + k) * wide, weight = axis->weights[i * axis->taps + k];
            for (size_t x = 0; x < wide; x++) row[x] += weight * old[x];
        }
    }
}

static void transpose(const float *restrict from, size_t tall, size_t wide, float *restrict to) {
    for (size_t y = 0; y < tall; y++)
        for (size_t x = 0; x < wide; x++) to[x * tall + y] = from[y * wide + x];
}

/* The gradients between neighbours, in hundredths of the range, each rounded down. */
FOR_WIDE_VECTORS static int gradients(const float *restrict values, const float *restrict next, int count) {
    int sum = 0;
    for (int i = 0; i < count; i++) {
        float change = next[i] - values[i];
        sum += (int)((change < 0.0f ? -change : change) * (float)(100.0 / 255.0));
    }
    return sum;
}

static int quality_of(const float *samples) {
    int sum = gradients(samples, samples + SAMPLES, SAMPLES * (SAMPLES - 1));
    for (int y = 0; y < SAMPLES; y++) sum += gradients(samples + y * SAMPLES, samples + y * SAMPLES + 1, SAMPLES - 1);
    return sum / QUALITY_SCALE < BEST ? sum / QUALITY_SCALE : BEST;
}

/* The value that would stand at `place` if the values were sorted; they are moved. */
static float value_at(float *values, int count, int place) {
    int low = 0, high = count - 1;
    while (low < high) {
        float pivot = values[(low + high) / 2];
        int i = low, j = high;
        while (i <= j) {
            while (values[i] < pivot) i++;
            while (values[j] > pivot) j--;
            if (i > j) break;
            float value = values[i];
            values[i++] = values[j];
            values[j--] = value;
        }
        if (place <= j) high = j;
        else if (place >= i) low = i;
        else break;
    }
    return values[place];
}

/* The hash and the quality; -1 when there is no memory. */
static int hash(const uint8_t *pixels, size_t tall, size_t wide, const Axis *down, const Axis *across, const Axis *cosines, uint8_t *to) {
    size_t columns = SAMPLES * (wide > SAMPLES ? wide : SAMPLES);
    float *from = malloc((tall * wide > columns ? tall * wide : columns) * sizeof *from), *rows = malloc(columns * sizeof *rows);
    int quality = -1;
    if (from && rows) {
        luma_of(pixels, tall * wide, from);
        weighted_rows(down, from, wide, rows);
        transpose(rows, SAMPLES, wide, from);
        weighted_rows(across, from, SAMPLES, rows);
        quality = quality_of(rows);
        weighted_rows(cosines, rows, SAMPLES, from);
        transpose(from, LOW, SAMPLES, rows);
        weighted_rows(cosines, rows, LOW, from);
        memcpy(rows, from, BITS * sizeof *rows);
        float median = value_at(rows, BITS, BITS / 2 - 1);
        memset(to, 0, BYTES);
        for (int i = 0; i < BITS; i++)
            if (from[i] > median) to[BYTES - 1 - i / 8] |= (uint8_t)(1 << i % 8);
    }
    free(from);
    free(rows);
    return quality;
}

/* Sets ValueError where an axis reads rows that are not there. */
static int axis_of(Axis *axis, const Py_buffer *first, const Py_buffer *weights, int rows, Py_ssize_t length) {
    *axis = (Axis){rows, (int)(weights->len / (Py_ssize_t)sizeof(float) / rows), first->buf, weights->buf};
    int fits = first->len == rows * (Py_ssize_t)sizeof(int32_t) && weights->len == rows * axis->taps * (Py_ssize_t)sizeof(float);
    for (int i = 0; fits && i < rows; i++) fits = axis->first[i] >= 0 && axis->first[i] + (Py_ssize_t)axis->taps <= length;
    if (!fits) PyErr_SetString(PyExc_ValueError, "an axis does not fit the picture");
    return fits;
}

static PyObject *py_pdq(PyObject *self, PyObject *arguments) {
    (void)self;
    enum { PIXELS, DOWN, ACROSS = DOWN + 2, COSINES = ACROSS + 2, BUFFERS = COSINES + 2 };
    Py_buffer all[BUFFERS];
    Py_ssize_t tall, wide;
    Axis down, across, cosines;
    uint8_t digest[BYTES];
    int quality = -1;
    if (!PyArg_ParseTuple(arguments, "y*nn(y*y*)(y*y*)(y*y*)", all, &tall, &wide, all + 1, all + 2, all + 3, all + 4, all + 5, all + 6))
        return NULL;
    if (tall < 1 || wide < 1 || tall > LONGEST || wide > LONGEST || all[PIXELS].len != 3 * tall * wide)
        PyErr_SetString(PyExc_ValueError, "a picture has at least one pixel, and 3 bytes a pixel");
    else if (axis_of(&down, all + DOWN, all + DOWN + 1, SAMPLES, tall) && axis_of(&across, all + ACROSS, all + ACROSS + 1, SAMPLES, wide) &&
             axis_of(&cosines, all + COSINES, all + COSINES + 1, LOW, SAMPLES)) {
        Py_BEGIN_ALLOW_THREADS
        quality = hash(all[PIXELS].buf, (size_t)tall, (size_t)wide, &down, &across, &cosines, digest);
        Py_END_ALLOW_THREADS
        if (quality < 0) PyErr_NoMemory();
    }
    for (int i = 0; i < BUFFERS; i++) PyBuffer_Release(all + i);
    return quality < 0 ? NULL : Py_BuildValue("y#i", digest, (Py_ssize_t)BYTES, quality);
}

static PyMethodDef methods[] = {
    {"pdq", py_pdq, METH_VARARGS, "pdq(RGB bytes, height, width, axis, axis, cosines): (hash, quality); an axis is (first, weights)."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_pairmill_pdq", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__pairmill_pdq(void) { return PyModuleDef_Init(&module); }
