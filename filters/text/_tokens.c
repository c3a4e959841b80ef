/* Cuts captions into tokens in one pass over their characters. tokens.py is the same in NumPy, and a test compares their arrays.

   The key of a word is a polynomial over its letters modulo 2^64; here the powers run along, so that none is divided out again. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>

/* As in tokens.py. */
enum { SPACE, LOWER, UPPER, DIGIT, ALONE, MARK };
enum { APOSTROPHE = '\'', CURLY_APOSTROPHE = 0x2019, CODES = 0x110000 };

#define BASE UINT64_C(0x9E3779B97F4A7C15)
#define MIXER UINT64_C(0xBF58476D1CE4E5B9)

typedef struct {
    const uint8_t *narrow; /* characters, of one byte each, */
    const uint32_t *wide;  /* or of four; the other is NULL */
    const uint8_t *kinds;
    Py_ssize_t count;
} Text;

static inline uint32_t code_at(const Text *text, Py_ssize_t place) {
    return text->narrow ? text->narrow[place] : text->wide[place];
}

static inline int kind_at(const Text *text, Py_ssize_t place) { return text->kinds[code_at(text, place)]; }

static inline int is_word(int kind) { return kind >= LOWER && kind <= DIGIT; }

/* The kind by which a character joins its neighbours within a caption: letters and digits are one, and so is an apostrophe between
   two of them. */
static inline int group_at(const Text *text, Py_ssize_t place, Py_ssize_t first, Py_ssize_t end) {
    uint32_t code = code_at(text, place);
    int kind = text->kinds[code];
    if (is_word(kind)) return LOWER;
    if ((code == APOSTROPHE || code == CURLY_APOSTROPHE) && place > first && place + 1 < end &&
        is_word(kind_at(text, place - 1)) && is_word(kind_at(text, place + 1)))
        return LOWER;
    return kind;
}

typedef struct {
    int64_t *rows, *first, *start, *length;
    uint8_t *kind;
    uint64_t *keys;
    int32_t *capitals, *digits;
    uint8_t *after_space;
} Tokens;

/* The token that begins at `place`: fills the entry `number` and returns where it ends. */
static inline Py_ssize_t cut(const Text *text, const int32_t *to_lower, Py_ssize_t place, Py_ssize_t first, Py_ssize_t end, int group,
                             Tokens *tokens, Py_ssize_t number) {
    uint64_t sum = 0, power = 1;
    int32_t capitals = 0, digits = 0;
    uint32_t opening = code_at(text, place);
    Py_ssize_t next = place;
    do {
        uint32_t code = code_at(text, next);
        int kind = text->kinds[code];
        capitals += kind == UPPER;
        digits += kind == DIGIT;
        uint64_t small = code + (uint32_t)to_lower[code];
        sum += (small + 1) * (small + UINT64_C(0x632BE5)) * power;
        power *= BASE;
        next++;
    } while (next < end && group != ALONE && group_at(text, next, first, end) == group &&
             (group != MARK || code_at(text, next) == opening));
    sum = (sum ^ sum >> 29) * MIXER;
    tokens->start[number] = place;
    tokens->length[number] = next - place;
    tokens->kind[number] = text->kinds[opening];
    tokens->keys[number] = sum ^ sum >> 32;
    tokens->capitals[number] = capitals;
    tokens->digits[number] = digits;
    return next;
}

static Py_ssize_t cut_all(const Text *text, const int32_t *to_lower, const int32_t *ends, Py_ssize_t captions, Tokens *tokens) {
    Py_ssize_t number = 0;
    for (Py_ssize_t row = 0; row < captions; row++) {
        Py_ssize_t first = ends[row], end = ends[row + 1];
        int after_space = 1;
        tokens->first[row] = number;
        for (Py_ssize_t place = first; place < end;) {
            int group = group_at(text, place, first, end);
            if (group == SPACE) {
                after_space = 1;
                place++;
                continue;
            }
            tokens->rows[number] = row;
            tokens->after_space[number] = (uint8_t)after_space;
            place = cut(text, to_lower, place, first, end, group, tokens, number++);
            after_space = 0;
        }
    }
    tokens->first[captions] = number;
    return number;
}

/* tokens(codes, width, ends, kinds, to_lower, rows, first, start, length, kind, keys, capitals, digits, after_space) → tokens. The last
   nine are written; all but `first` have room for as many entries as there are characters. */
static PyObject *tokens(PyObject *self, PyObject *args) {
    (void)self;
    Py_buffer in[4], out[9];
    int width;
    if (!PyArg_ParseTuple(args, "y*iy*y*y*w*w*w*w*w*w*w*w*w*", &in[0], &width, &in[1], &in[2], &in[3], &out[0], &out[1], &out[2],
                          &out[3], &out[4], &out[5], &out[6], &out[7], &out[8]))
        return NULL;
    static const Py_ssize_t sizes[9] = {8, 8, 8, 8, 1, 8, 4, 4, 1};
    Text text = {width == 1 ? in[0].buf : NULL, width == 4 ? in[0].buf : NULL, in[2].buf, 0};
    const int32_t *ends = in[1].buf;
    Py_ssize_t captions = in[1].len / 4 - 1, number = -1;
    int fits = (width == 1 || width == 4) && captions >= 0 && in[2].len == CODES && in[3].len == 4 * (Py_ssize_t)CODES;
    if (fits) text.count = in[0].len / width;
    for (Py_ssize_t row = 0; fits && row <= captions; row++)
        fits = ends[row] >= (row ? ends[row - 1] : 0) && ends[row] <= text.count;
    for (Py_ssize_t place = 0; fits && width == 4 && place < text.count; place++) fits = text.wide[place] < CODES;
    for (int place = 0; fits && place < 9; place++)
        fits = out[place].len >= sizes[place] * (place == 1 ? captions + 1 : text.count);
    if (fits) {
        Tokens cuts = {out[0].buf, out[1].buf, out[2].buf, out[3].buf, out[4].buf, out[5].buf, out[6].buf, out[7].buf, out[8].buf};
        Py_BEGIN_ALLOW_THREADS
        number = cut_all(&text, in[3].buf, ends, captions, &cuts);
        Py_END_ALLOW_THREADS
    }
    for (int place = 0; place < 4; place++) PyBuffer_Release(&in[place]);
    for (int place = 0; place < 9; place++) PyBuffer_Release(&out[place]);
    if (fits) return PyLong_FromSsize_t(number);
    PyErr_SetString(PyExc_ValueError, "arrays of other lengths than the characters and captions need");
    return NULL;
}

static PyMethodDef methods[] = {{"tokens", tokens, METH_VARARGS, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_pairmill_tokens", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__pairmill_tokens(void) { return PyModuleDef_Init(&module); }
