/* Resizes RGB images with a separable filter in integers. resize.py is the same in NumPy, and a test compares their bytes.

   Each new row is a weighted sum of old rows, and each pixel of it a weighted sum of pixels of that row: rows come first, because an
   image that shrinks has fewer of them afterwards. A weight is a 16-bit integer of 14 binary places, those of one pixel add up to
   exactly one, and values are 8 bits wide between the two passes, so that the result does not depend on the width of the vectors.

   The weights of two neighbouring taps lie side by side, because vpmaddwd (AVX2) and vpdpwssd (AVX-512 VNNI) multiply pairs of
   16-bit numbers and add the two products in one instruction. Rows are summed 32 or 64 bytes at a time, whatever the colour; for
   columns a shuffle brings the colours of two neighbouring pixels beside each other (AVX2), or under each of 15 new colours (vpermb
   of AVX-512 VBMI). The plain loops do what is left over at the edges, and everything where there is no AVX2; alone they take eight
   times as long as AVX2, longer than decoding the JPEG. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#include <immintrin.h>
#define VECTORS 1
#endif

/* Taps are padded with zero weights to a multiple of ROW_TAPS or COLUMN_TAPS; PADDING is read, not used, after the end of a row. */
enum { PLACES = 14, ONE = 1 << PLACES, HALF = ONE / 2, ROW_TAPS = 2, COLUMN_TAPS = 4, PADDING = 64, FIVE = 5, WINDOW = 64 };

/* For each new pixel of an axis: the first old pixel it covers, and the weights of `taps` old pixels from there on. */
typedef struct {
    int taps;
    int *first;
    int16_t *weight;
} Axis;

/* What a filter is called in the calls from Python, and how far it reaches. */
enum { AVERAGE, CUBIC, TRIANGLE };
static const double REACH[] = {0.5, 2.0, 1.0};

static double catmull_rom(double x) {
    x = fabs(x);
    if (x < 1.0) return (1.5 * x - 2.5) * x * x + 1.0;
    if (x < 2.0) return ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0;
    return 0.0;
}

static double height_at(double x, int filter) {
    if (filter == CUBIC) return catmull_rom(x);
    if (filter == AVERAGE) return x > -0.5 && x <= 0.5;
    return fabs(x) < 1.0 ? 1.0 - fabs(x) : 0.0;
}

/* Half goes to the even neighbour. */
static int to_integer(double value) {
#ifdef VECTORS
    return _mm_cvtsd_si32(_mm_set_sd(value)); /* lrint, but without a call */
#else
    return (int)lrint(value);
#endif
}

static void axis_free(Axis *axis) {
    free(axis->first);
    free(axis->weight);
}

/* `taps` becomes a multiple of `multiple`. Returns 0 when there is no memory. */
static int axis_init(Axis *axis, int length, int new_length, int filter, int multiple) {
    double ratio = (double)length / new_length, stretch = ratio > 1.0 ? ratio : 1.0, reach = REACH[filter] * stretch;
    int max_taps = 2 * (int)ceil(reach) + 1;
    axis->taps = (max_taps + multiple - 1) / multiple * multiple;
    axis->first = malloc((size_t)new_length * sizeof(int));
    axis->weight = calloc((size_t)new_length * axis->taps, sizeof(int16_t));
    double *raw = malloc((size_t)max_taps * sizeof(double));
    if (!axis->first || !axis->weight || !raw) {
        free(raw);
        axis_free(axis);
        return 0;
    }
    int needed = 1;
    for (int i = 0; i < new_length; i++) {
        double centre = (i + 0.5) * ratio, sum = 0.0, running = 0.0;
        int first = (int)(centre - reach + 0.5), last = (int)(centre + reach + 0.5), sum_of_weights = 0;
        if (centre - reach + 0.5 < 0.0) first = 0;
        if (last > length) last = length;
        for (int k = 0; k < last - first; k++) {
            double x = (first + k - centre + 0.5) / stretch;
            raw[k] = height_at(x, filter);
            sum += raw[k];
        }
        double scale = ONE / sum;
        for (int k = 0; k < last - first; k++) {
            running += raw[k] * scale;
            int rounded_sum = to_integer(running); /* the sum is rounded, not the weight: errors do not add up */
            axis->weight[(size_t)i * axis->taps + k] = (int16_t)(rounded_sum - sum_of_weights);
            sum_of_weights = rounded_sum;
        }
        axis->first[i] = first;
        if (last - first > needed) needed = last - first;
    }
    free(raw);
    int taps = (needed + multiple - 1) / multiple * multiple;
    for (int i = 0; i < new_length; i++)
        memmove(axis->weight + (size_t)i * taps, axis->weight + (size_t)i * axis->taps, taps * sizeof(int16_t));
    axis->taps = taps;
    return 1;
}

static uint8_t rounded(int sum) {
    int value = (sum + HALF) >> PLACES;
    return value < 0 ? 0 : value > 255 ? 255 : (uint8_t)value;
}

/* The bytes from `begin` on of one new row, from `taps` old rows. */
static void row_plain(const uint8_t **rows, const int16_t *weight, int taps, uint8_t *out, int begin, int bytes) {
    for (int x = begin; x < bytes; x++) {
        int sum = 0;
        for (int k = 0; k < taps; k++) sum += weight[k] * rows[k][x];
        out[x] = rounded(sum);
    }
}

static void columns_plain(const uint8_t *row, const Axis *axis, uint8_t *out, int begin, int wide) {
    for (int x = begin; x < wide; x++) {
        const uint8_t *from = row + 3 * (size_t)axis->first[x];
        const int16_t *weight = axis->weight + (size_t)x * axis->taps;
        int sum[3] = {0, 0, 0};
        for (int k = 0; k < axis->taps; k++)
            for (int c = 0; c < 3; c++) sum[c] += weight[k] * from[3 * k + c];
        for (int c = 0; c < 3; c++) out[3 * x + c] = rounded(sum[c]);
    }
}

#ifdef VECTORS
/* A loop whose length the compiler knows takes two thirds of the time. */
#define WITH_CONSTANT_TAPS(function, ...)             \
    switch (taps) {                                   \
        case 2: return function(__VA_ARGS__, 2);      \
        case 4: return function(__VA_ARGS__, 4);      \
        case 6: return function(__VA_ARGS__, 6);      \
        case 8: return function(__VA_ARGS__, 8);      \
        case 10: return function(__VA_ARGS__, 10);    \
        case 12: return function(__VA_ARGS__, 12);    \
        default: return function(__VA_ARGS__, taps);  \
    }
#define AVX2 __attribute__((target("avx2")))
#define AVX512 __attribute__((target("avx512bw,avx512vnni")))
#define VBMI __attribute__((target("avx512bw,avx512vl,avx512vnni,avx512vbmi")))
#define INLINE __attribute__((always_inline)) static inline

/* One new row, 32 bytes at a time; returns how many bytes were written: all, or none where the row is shorter than 32. */
AVX2 INLINE int row_of_32(const uint8_t **rows, const int16_t *weight, uint8_t *out, int bytes, int taps) {
    const __m256i half = _mm256_set1_epi32(HALF), zero = _mm256_setzero_si256();
    if (bytes < 32) return 0;
    for (int at = 0; at < bytes; at += 32) {
        int x = at + 32 <= bytes ? at : bytes - 32; /* the last 32 overlap those before */
        __m256i sum[4] = {half, half, half, half};
        for (int k = 0; k < taps; k += 2) {
            int32_t pair;
            memcpy(&pair, weight + k, sizeof pair);
            __m256i weights = _mm256_set1_epi32(pair);
            __m256i a = _mm256_loadu_si256((const __m256i *)(rows[k] + x));
            __m256i b = _mm256_loadu_si256((const __m256i *)(rows[k + 1] + x));
            __m256i low = _mm256_unpacklo_epi8(a, b), high = _mm256_unpackhi_epi8(a, b);
            sum[0] = _mm256_add_epi32(sum[0], _mm256_madd_epi16(_mm256_unpacklo_epi8(low, zero), weights));
            sum[1] = _mm256_add_epi32(sum[1], _mm256_madd_epi16(_mm256_unpackhi_epi8(low, zero), weights));
            sum[2] = _mm256_add_epi32(sum[2], _mm256_madd_epi16(_mm256_unpacklo_epi8(high, zero), weights));
            sum[3] = _mm256_add_epi32(sum[3], _mm256_madd_epi16(_mm256_unpackhi_epi8(high, zero), weights));
        }
        for (int part = 0; part < 4; part++) sum[part] = _mm256_srai_epi32(sum[part], PLACES);
        __m256i low = _mm256_packs_epi32(sum[0], sum[1]), high = _mm256_packs_epi32(sum[2], sum[3]);
        _mm256_storeu_si256((__m256i *)(out + x), _mm256_packus_epi16(low, high));
    }
    return bytes;
}

/* The same, 64 at a time. */
AVX512 INLINE int row_of_64(const uint8_t **rows, const int16_t *weight, uint8_t *out, int bytes, int taps) {
    const __m512i half = _mm512_set1_epi32(HALF), zero = _mm512_setzero_si512();
    if (bytes < 64) return 0;
    for (int at = 0; at < bytes; at += 64) {
        int x = at + 64 <= bytes ? at : bytes - 64;
        __m512i sum[4] = {half, half, half, half};
        for (int k = 0; k < taps; k += 2) {
            int32_t pair;
            memcpy(&pair, weight + k, sizeof pair);
            __m512i weights = _mm512_set1_epi32(pair);
            __m512i a = _mm512_loadu_si512(rows[k] + x), b = _mm512_loadu_si512(rows[k + 1] + x);
            __m512i low = _mm512_unpacklo_epi8(a, b), high = _mm512_unpackhi_epi8(a, b);
            sum[0] = _mm512_dpwssd_epi32(sum[0], _mm512_unpacklo_epi8(low, zero), weights);
            sum[1] = _mm512_dpwssd_epi32(sum[1], _mm512_unpackhi_epi8(low, zero), weights);
            sum[2] = _mm512_dpwssd_epi32(sum[2], _mm512_unpacklo_epi8(high, zero), weights);
            sum[3] = _mm512_dpwssd_epi32(sum[3], _mm512_unpackhi_epi8(high, zero), weights);
        }
        for (int part = 0; part < 4; part++) sum[part] = _mm512_srai_epi32(sum[part], PLACES);
        __m512i low = _mm512_packs_epi32(sum[0], sum[1]), high = _mm512_packs_epi32(sum[2], sum[3]);
        _mm512_storeu_si512(out + x, _mm512_packus_epi16(low, high));
    }
    return bytes;
}

AVX2 static int row_by_32(const uint8_t **rows, const int16_t *weight, int taps, uint8_t *out, int bytes) {
    WITH_CONSTANT_TAPS(row_of_32, rows, weight, out, bytes)
}

AVX512 static int row_by_64(const uint8_t **rows, const int16_t *weight, int taps, uint8_t *out, int bytes) {
    WITH_CONSTANT_TAPS(row_of_64, rows, weight, out, bytes)
}

/* The sums of one new pixel: even pairs of taps in the lower half, odd ones in the upper. Reads up to 16 bytes too far. */
AVX2 INLINE __m256i column_sums(const uint8_t *from, const int16_t *spread, int taps) {
    const __m256i order = _mm256_setr_epi8(
        0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1, 6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1);
    __m256i sums = _mm256_setzero_si256();
    for (int k = 0; k < taps; k += COLUMN_TAPS, spread += 16) {
        __m256i four = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(from + 3 * k)));
        __m256i weights = _mm256_loadu_si256((const __m256i *)spread);
        sums = _mm256_add_epi32(sums, _mm256_madd_epi16(_mm256_shuffle_epi8(four, order), weights));
    }
    return sums;
}

/* Adds the halves of the sums of two new pixels, and rounds. */
AVX2 INLINE __m256i two_rounded(__m256i first, __m256i second) {
    __m256i sums = _mm256_add_epi32(_mm256_permute2x128_si256(first, second, 0x20), _mm256_permute2x128_si256(first, second, 0x31));
    return _mm256_srai_epi32(_mm256_add_epi32(sums, _mm256_set1_epi32(HALF)), PLACES);
}

/* The pixels of one new row, four at a time; all, or none where there are fewer. `spread` holds each weight where `column_sums` has
   its pixel. */
AVX2 INLINE int columns_of_4(
    const uint8_t *row, const Axis *axis, const int16_t *spread, int wide, uint8_t *out, int taps) {
    const __m128i order = _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
    const int step = 4 * taps;
    if (wide < 4) return 0;
    for (int at = 0; at < wide; at += 4) {
        int x = at + 4 <= wide ? at : wide - 4;
        const int *first = axis->first + x;
        const int16_t *weights = spread + (size_t)x * step;
        __m256i sums[4];
        for (int i = 0; i < 4; i++) sums[i] = column_sums(row + 3 * (size_t)first[i], weights + i * (size_t)step, taps);
        __m256i words = _mm256_packs_epi32(two_rounded(sums[0], sums[1]), two_rounded(sums[2], sums[3]));
        __m256i bytes = _mm256_packus_epi16(words, words);
        __m128i four = _mm_unpacklo_epi32(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1));
        four = _mm_shuffle_epi8(four, order);
        int32_t last = _mm_extract_epi32(four, 2);
        _mm_storel_epi64((__m128i *)(out + 3 * (size_t)x), four);
        memcpy(out + 3 * (size_t)x + 8, &last, sizeof last);
    }
    return wide;
}

AVX2 static int columns_by_4(const uint8_t *row, const Axis *axis, const int16_t *spread, int wide, uint8_t *out) {
    if (axis->taps == 4) return columns_of_4(row, axis, spread, wide, out, 4);
    if (axis->taps == 8) return columns_of_4(row, axis, spread, wide, out, 8);
    return columns_of_4(row, axis, spread, wide, out, axis->taps);
}

static int16_t *spread_weights(const Axis *axis, int wide) {
    int16_t *spread = calloc((size_t)wide * axis->taps * 4, sizeof(int16_t)), *to = spread;
    if (!spread) return NULL;
    for (size_t at = 0; at < (size_t)wide * axis->taps; at += 2, to += 8)
        for (int c = 0; c < 3; c++) memcpy(to + 2 * c, axis->weight + at, 2 * sizeof(int16_t));
    return spread;
}

/* Of each five new pixels, where the colours of their first two taps lie in the WINDOW of bytes that begins at the first one, and
   then for each two taps the weights; one place, or two weights, in four bytes for each colour. Five that are the last overlap
   those before. NULL where a window does not hold all taps, where the row has fewer pixels, or without memory. */
static int16_t *five_weights(const Axis *axis, int wide) {
    int taps = axis->taps, step = WINDOW / 4 * (2 + taps);
    int16_t *fives = wide < FIVE ? NULL : aligned_alloc(WINDOW, (size_t)((wide + FIVE - 1) / FIVE) * step * sizeof *fives), *to = fives;
    for (int at = 0; fives && at < wide; at += FIVE, to += step) {
        int x = at + FIVE <= wide ? at : wide - FIVE;
        const int *first = axis->first + x;
        memset(to, 0, step * sizeof *to);
        if (3 * (first[FIVE - 1] - first[0] + taps) > WINDOW) {
            free(fives);
            return NULL;
        }
        for (int i = 0; i < 3 * FIVE; i++) {
            const int16_t *weight = axis->weight + (size_t)(x + i / 3) * taps;
            to[2 * i] = (int16_t)(3 * (first[i / 3] - first[0]) + i % 3);
            to[2 * i + 1] = to[2 * i] + 3;
            for (int k = 0; k < taps; k += 2) memcpy(to + WINDOW / 4 * (2 + k) + 2 * i, weight + k, 2 * sizeof *weight);
        }
    }
    return fives;
}

/* The pixels of one new row, five at a time. vpermb (AVX-512 VBMI) brings the old colours of two taps beneath each of 15 new
   colours, so that no sums are left to be added across a vector; this takes half the time of `columns_of_4`. */
VBMI INLINE int columns_of_5(const uint8_t *row, const Axis *axis, const int16_t *fives, int wide, uint8_t *out, int taps) {
    const __m512i next = _mm512_set1_epi16(6), half = _mm512_set1_epi32(HALF), zero = _mm512_setzero_si512();
    const __mmask64 low_bytes = 0x5555555555555555;
    const __m512i *vector = (const __m512i *)fives;
    for (int at = 0; at < wide; at += FIVE) {
        int x = at + FIVE <= wide ? at : wide - FIVE;
        __m512i window = _mm512_loadu_si512(row + 3 * (size_t)axis->first[x]), places = *vector++, sums = half;
        for (int k = 0; k < taps; k += 2) {
            sums = _mm512_dpwssd_epi32(sums, _mm512_maskz_permutexvar_epi8(low_bytes, places, window), *vector++);
            places = _mm512_add_epi16(places, next);
        }
        __m128i pixels = _mm512_cvtusepi32_epi8(_mm512_max_epi32(_mm512_srai_epi32(sums, PLACES), zero));
        _mm_mask_storeu_epi8(out + 3 * (size_t)x, 0x7FFF, pixels);
    }
    return wide;
}

VBMI static int columns_by_5(const uint8_t *row, const Axis *axis, const int16_t *fives, int wide, uint8_t *out) {
    if (axis->taps == 4) return columns_of_5(row, axis, fives, wide, out, 4);
    if (axis->taps == 8) return columns_of_5(row, axis, fives, wide, out, 8);
    return columns_of_5(row, axis, fives, wide, out, axis->taps);
}
#endif

/* An image, or a box of one: rows of `wide` pixels, `stride` bytes from each to the next. */
typedef struct {
    const uint8_t *pixels;
    size_t stride;
    int tall, wide;
} Source;

/* `vector_bytes` limits the width of the vectors: tests try what other processors do. Returns 0 when there is no memory. */
static int resize(Source from, uint8_t *to, int to_tall, int to_wide, int filter, int vector_bytes) {
    Axis down = {0}, across = {0};
    int done = 0, tall = from.tall, wide = from.wide, bytes = 3 * wide;
    uint8_t *row = NULL;
    const uint8_t **rows = NULL;
    int16_t *spread = NULL, *fives = NULL;
    if (!axis_init(&down, tall, to_tall, filter, ROW_TAPS)) return 0;
    if (!axis_init(&across, wide, to_wide, filter, COLUMN_TAPS)) {
        axis_free(&down);
        return 0;
    }
    row = calloc((size_t)bytes + 3 * (size_t)across.taps + PADDING, 1);
    rows = malloc(down.taps * sizeof *rows);
    if (!row || !rows) goto end;
#ifdef VECTORS
    int by_32 = vector_bytes >= 32 && __builtin_cpu_supports("avx2");
    int by_64 = vector_bytes >= 64 && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vnni");
    int by_window = by_64 && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vbmi");
    if (by_window) fives = five_weights(&across, to_wide);
    if (by_32 && !fives && !(spread = spread_weights(&across, to_wide))) goto end;
#endif
    for (int y = 0; y < to_tall; y++) {
        const int16_t *weight = down.weight + (size_t)y * down.taps;
        uint8_t *out = to + (size_t)y * to_wide * 3;
        int done_bytes = 0, done_pixels = 0, taps = down.taps;
        while (taps > ROW_TAPS && !weight[taps - 1] && !weight[taps - 2]) taps -= ROW_TAPS;
        for (int k = 0; k < taps; k++) {
            int at = down.first[y] + k; /* the weights of rows below the image are zero */
            rows[k] = from.pixels + (size_t)(at < tall ? at : tall - 1) * from.stride;
        }
#ifdef VECTORS
        if (by_64) done_bytes = row_by_64(rows, weight, taps, row, bytes);
        if (by_32 && !done_bytes) done_bytes = row_by_32(rows, weight, taps, row, bytes);
#endif
        row_plain(rows, weight, taps, row, done_bytes, bytes);
#ifdef VECTORS
        if (fives) done_pixels = columns_by_5(row, &across, fives, to_wide, out);
        if (by_32 && !fives) done_pixels = columns_by_4(row, &across, spread, to_wide, out);
#endif
        columns_plain(row, &across, out, done_pixels, to_wide);
    }
    done = 1;
end:
    free(fives);
    free(spread);
    free(rows);
    free(row);
    axis_free(&down);
    axis_free(&across);
    return done;
}

/* Resizes into a buffer, without the interpreter's lock. */
static PyObject *resized_into(Source from, Py_buffer *to, int to_tall, int to_wide, int filter, int vector_bytes) {
    int done;
    Py_BEGIN_ALLOW_THREADS
    done = resize(from, to->buf, to_tall, to_wide, filter, vector_bytes);
    Py_END_ALLOW_THREADS
    if (!done) return PyErr_NoMemory();
    Py_RETURN_NONE;
}

static int is_image(const Py_buffer *buffer, int tall, int wide) {
    if (tall >= 1 && wide >= 1 && wide <= INT_MAX / 8 && buffer->len == 3 * (Py_ssize_t)tall * wide) return 1;
    PyErr_SetString(PyExc_ValueError, "an image has at least one pixel, and 3 bytes a pixel");
    return 0;
}

static PyObject *py_resize(PyObject *self, PyObject *arguments) {
    (void)self;
    Py_buffer from, to;
    PyObject *result = NULL;
    int tall, wide, to_tall, to_wide, cubic, vector_bytes;
    if (!PyArg_ParseTuple(arguments, "y*iiw*iipi", &from, &tall, &wide, &to, &to_tall, &to_wide, &cubic, &vector_bytes)) return NULL;
    if (is_image(&from, tall, wide) && is_image(&to, to_tall, to_wide)) {
        Source whole = {from.buf, 3 * (size_t)wide, tall, wide};
        result = resized_into(whole, &to, to_tall, to_wide, cubic ? CUBIC : AVERAGE, vector_bytes);
    }
    PyBuffer_Release(&from);
    PyBuffer_Release(&to);
    return result;
}

static PyObject *py_crop(PyObject *self, PyObject *arguments) {
    (void)self;
    Py_buffer from, to;
    PyObject *result = NULL;
    int tall, wide, left, top, right, bottom, to_tall, to_wide, vector_bytes;
    if (!PyArg_ParseTuple(
            arguments, "y*ii(iiii)w*iii", &from, &tall, &wide, &left, &top, &right, &bottom, &to, &to_tall, &to_wide, &vector_bytes))
        return NULL;
    if (is_image(&from, tall, wide) && is_image(&to, to_tall, to_wide)) {
        if (0 <= left && left < right && right <= wide && 0 <= top && top < bottom && bottom <= tall) {
            size_t stride = 3 * (size_t)wide;
            Source box = {(const uint8_t *)from.buf + top * stride + 3 * (size_t)left, stride, bottom - top, right - left};
            result = resized_into(box, &to, to_tall, to_wide, TRIANGLE, vector_bytes);
        } else {
            PyErr_SetString(PyExc_ValueError, "the box has no pixel, or lies outside of the image");
        }
    }
    PyBuffer_Release(&from);
    PyBuffer_Release(&to);
    return result;
}

static PyMethodDef methods[] = {
    {"resize", py_resize, METH_VARARGS, "resize(source, height, width, target, height, width, cubic, vector_bytes): RGB bytes into RGB bytes."},
    {"crop", py_crop, METH_VARARGS, "crop(source, height, width, (left, top, right, bottom), target, height, width, vector_bytes): of a box, by triangles."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_pairmill_resize", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__pairmill_resize(void) { return PyModuleDef_Init(&module); }
