/* A sound, plain JPEG at an eighth of its size. eighth.py says what of it is decoded; a test compares the pixels with libjpeg-turbo's.

   At this scale a block of 8 x 8 pixels becomes one, which is its constant coefficient alone. The others, nine tenths of the file,
   are only passed over, and of a coefficient that is passed over nothing matters but its length. So a table tells, for the next LOOK
   bits, how many bits and coefficients all whole codes in them stand for, two or three at once (`many`). libjpeg decodes them one by
   one, which takes three times as long. Where colour is halved both ways, libjpeg makes 2 x 2 pixels of a block of colour instead,
   from the coefficients of even columns and rows no further than 0 (`quarter`); these are decoded one by one here too.

   The bytes come from strangers: every read is within them, and whatever is not as it must be ends in "not this one" (0). */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { LOOK = 12, LONGEST_CODE = 16, BLOCK = 64, COLOURS = 3, TABLES = 2, MOST_SIDE = 65500 };
enum { DC_BITS = 11, AC_BITS = 10, LARGEST = 2048 }; /* coefficients are smaller; half as large are those of 8 bits */
enum { SLACK = 512 }; /* zeroes behind the scan; a block of the longest codes takes 210 bytes */
enum { PLACES = 13 }; /* of the factors in `quarter`, as libjpeg's jidctred.c has it */

/* A Huffman table: the bytes that define it; for codes by their length where they end, left-aligned, and what to add for the place of
   their symbol; and for the next LOOK bits the first symbol and the length of its code (0: longer than LOOK). */
typedef struct {
    uint8_t counts[LONGEST_CODE], symbols[256];
    uint32_t end[LONGEST_CODE + 1];
    int place[LONGEST_CODE + 1], size;
    uint8_t symbol[1 << LOOK], length[1 << LOOK];
    uint16_t many[1 << LOOK]; /* bits | coefficients << 6 | whether the block ends << 13; BLOCK << 6: not even one code is whole */
} Huffman;

typedef struct {
    int wide, tall, blocks_x, blocks_y, colours, across, down; /* across, down: 2 where colour is halved along that axis */
    const uint8_t *steps[COLOURS];
    const Huffman *dc[COLOURS], *ac[COLOURS];
    const uint8_t *scan, *end;
} Picture;

/* The bits not yet taken, the next one on top, `count` of them sound; `next` are the bytes behind them. */
typedef struct {
    const uint8_t *next;
    uint64_t bits;
    int count;
} Reader;

static inline void refill(Reader *reader) {
    uint64_t eight = 0;
    for (int i = 0; i < 8; i++) eight = eight << 8 | reader->next[i];
    reader->bits |= eight >> reader->count;
    reader->next += (63 - reader->count) >> 3;
    reader->count |= 56;
}

static inline void take(Reader *reader, int bits) {
    reader->bits <<= bits;
    reader->count -= bits;
}

/* The next symbol; -1 where there is no such code. */
static inline int symbol_of(Reader *reader, const Huffman *table) {
    unsigned look = (unsigned)(reader->bits >> (64 - LOOK)), code = (unsigned)(reader->bits >> (64 - LONGEST_CODE));
    int length = table->length[look];
    if (length) {
        take(reader, length);
        return table->symbol[look];
    }
    for (length = LOOK + 1; length <= LONGEST_CODE && code >= table->end[length]; length++) {}
    if (length > LONGEST_CODE) return -1;
    take(reader, length);
    return table->symbols[table->place[length] + (int)(code >> (LONGEST_CODE - length))];
}

/* The number in the next `bits` bits, 1 or more (ITU-T T.81, F.2.2.1). */
static inline int number_of(Reader *reader, int bits) {
    int value = (int)(reader->bits >> (64 - bits));
    take(reader, bits);
    return value >> (bits - 1) ? value : value - (1 << bits) + 1;
}

/* The constant coefficient of the next block, which is told by its difference from the one before; LARGEST where it is not sound. */
static inline int constant_of(Reader *reader, const Huffman *table, int *before, int step) {
    refill(reader);
    int bits = symbol_of(reader, table);
    if (bits < 0) return LARGEST;
    if (bits) *before += number_of(reader, bits);
    return abs(*before) < LARGEST && abs(*before * step) < LARGEST ? *before * step : LARGEST;
}

/* One symbol of the other coefficients: the place of the next coefficient, BLOCK where the block ends, more where it is not sound. */
static inline int next_place(Reader *reader, const Huffman *table, int at, int *bits) {
    int symbol = symbol_of(reader, table);
    *bits = symbol & 15;
    if (symbol < 0 || *bits > AC_BITS) return BLOCK + 1;
    if (*bits) return at + (symbol >> 4) + 1;
    return symbol == 0xF0 ? at + 16 : symbol ? BLOCK + 1 : BLOCK;
}

/* Passes over the other coefficients of a block. */
static inline int pass_over(Reader *reader, const Huffman *table) {
    for (int at = 1, bits; at < BLOCK;) {
        refill(reader);
        for (int twice = 0; twice < 2; twice++) { /* for so many no refill is needed between */
            unsigned many = table->many[reader->bits >> (64 - LOOK)];
            int next = at + (int)(many >> 6 & 127);
            if (next >= BLOCK) { /* the codes beyond the block's last coefficient are the next block's */
                refill(reader);
                if ((next = next_place(reader, table, at, &bits)) > BLOCK) return 0;
                take(reader, bits);
                at = next;
                break;
            }
            take(reader, (int)(many & 63));
            at = next;
            if (many >> 13) return 1;
        }
    }
    return 1;
}

static inline uint8_t clamped(int value) { return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value); }

/* The pixel of a block by its constant coefficient. */
static inline uint8_t pixel_of(int constant) { return clamped(((constant + 4) >> 3) + 128); }

/* Row and column of each coefficient in the order of the file (ITU-T T.81, figure A.6). */
static const uint8_t ROW[BLOCK] = {0, 0, 1, 2, 1, 0, 0, 1, 2, 3, 4, 3, 2, 1, 0, 0, 1, 2, 3, 4, 5, 6, 5, 4, 3, 2, 1, 0, 0, 1, 2, 3,
                                   4, 5, 6, 7, 7, 6, 5, 4, 3, 2, 1, 2, 3, 4, 5, 6, 7, 7, 6, 5, 4, 3, 4, 5, 6, 7, 7, 6, 5, 6, 7, 7};
static const uint8_t COLUMN[BLOCK] = {0, 1, 0, 0, 1, 2, 3, 2, 1, 0, 0, 1, 2, 3, 4, 5, 4, 3, 2, 1, 0, 0, 1, 2, 3, 4, 5, 6, 7, 6, 5, 4,
                                      3, 2, 1, 0, 1, 2, 3, 4, 5, 6, 7, 7, 6, 5, 4, 3, 2, 3, 4, 5, 6, 7, 7, 6, 5, 4, 5, 6, 7, 7, 6, 7};
/* What a coefficient of row (column) 1, 3, 5, 7 adds to the upper (left) pixel, and takes from the other one; in PLACES binary places. */
static const int ODD[8] = {0, 29692, 0, -10426, 0, 6967, 0, -5906};
static const uint8_t COLUMNS[] = {0, 1, 3, 5, 7};

static inline int rounded(int value, int places) { return (value + (1 << (places - 1))) >> places; }

/* 2 x 2 pixels of a block from all its coefficients, `upper` row and `lower` one; 0 where it is not sound. */
static int quarter(Reader *reader, const Huffman *table, const uint8_t *steps, int constant, uint8_t *upper, uint8_t *lower) {
    int even[8] = {constant * (4 << PLACES)}, odd[8] = {0}, sums[2][8];
    for (int at = 1, bits; at < BLOCK;) {
        refill(reader);
        int next = next_place(reader, table, at, &bits);
        if (next > BLOCK) return 0;
        at = next;
        if (!bits) continue;
        int place = at - 1, row = ROW[place], column = COLUMN[place], value = number_of(reader, bits) * steps[place];
        if (abs(value) >= LARGEST) return 0;
        if (row == 0) even[column] = value * (4 << PLACES);
        else odd[column] += ODD[row] * value;
    }
    for (int i = 0; i < (int)sizeof COLUMNS; i++) {
        int column = COLUMNS[i];
        sums[0][column] = rounded(even[column] + odd[column], PLACES);
        sums[1][column] = rounded(even[column] - odd[column], PLACES);
    }
    for (int y = 0; y < 2; y++) {
        int middle = sums[y][0] * (4 << PLACES), slope = 0;
        for (int i = 1; i < (int)sizeof COLUMNS; i++) slope += ODD[COLUMNS[i]] * sums[y][COLUMNS[i]];
        uint8_t *row = y ? lower : upper;
        row[0] = clamped(rounded(middle + slope, PLACES + 7) + 128);
        row[1] = clamped(rounded(middle - slope, PLACES + 7) + 128);
    }
    return 1;
}

/* The three planes, each of blocks_x * across by blocks_y * down pixels; 0 where the scan is not sound or does not end where it should. */
static int planes_of(const Picture *picture, const uint8_t *bits, size_t length, uint8_t *planes) {
    Reader reader = {bits, 0, 0};
    int before[COLOURS] = {0}, across = picture->across, down = picture->down;
    size_t wide = (size_t)picture->blocks_x * across, size = wide * picture->blocks_y * down;
    for (int y = 0; y < picture->blocks_y; y++) {
        for (int x = 0; x < picture->blocks_x; x++) {
            for (int colour = 0; colour < picture->colours; colour++) {
                const Huffman *dc = picture->dc[colour], *ac = picture->ac[colour];
                const uint8_t *steps = picture->steps[colour];
                uint8_t *to = planes + colour * size + (size_t)y * down * wide + (size_t)x * across;
                for (int block = 0; block < (colour ? 1 : across * down); block++) {
                    int constant = constant_of(&reader, dc, before + colour, steps[0]);
                    if (constant == LARGEST || reader.next > bits + length + sizeof reader.bits) return 0;
                    if (colour && down == 2) {
                        if (!quarter(&reader, ac, steps, constant, to, to + wide)) return 0;
                        continue;
                    }
                    if (!pass_over(&reader, ac)) return 0;
                    to[block / across * wide + block % across] = pixel_of(constant);
                    if (colour && across == 2) to[1] = to[0];
                }
            }
        }
    }
    Py_ssize_t left = (Py_ssize_t)(8 * length) - (8 * (reader.next - bits) - reader.count);
    return left >= 0 && left < 8;
}

/* Planes of luminance and two colours → RGB (JFIF 1.02, in 16 binary places as libjpeg's jdcolor.c rounds). */
static void to_rgb(const Picture *picture, const uint8_t *planes, uint8_t *to) {
    size_t wide = (size_t)picture->blocks_x * picture->across, size = wide * picture->blocks_y * picture->down;
    for (int y = 0; y < picture->tall; y++) {
        const uint8_t *row = planes + y * wide;
        for (int x = 0; x < picture->wide; x++, to += COLOURS) {
            int light = row[x], blue = 0, red = 0;
            if (picture->colours == COLOURS) {
                blue = row[size + x] - 128;
                red = row[2 * size + x] - 128;
            }
            to[0] = clamped(light + rounded(91881 * red, 16));
            to[1] = clamped(light + rounded(-22554 * blue - 46802 * red, 16));
            to[2] = clamped(light + rounded(116130 * blue, 16));
        }
    }
}

/* The scan without the zero that follows each 0xFF in it, and where it ends, at the end of the picture; 0 where it ends otherwise. */
static int unstuffed(const Picture *picture, uint8_t *to, size_t *length) {
    const uint8_t *from = picture->scan, *mark;
    uint8_t *at = to;
    while ((mark = memchr(from, 0xFF, picture->end - from)) && mark + 1 < picture->end) {
        size_t run = mark - from + 1;
        memcpy(at, from, run);
        at += run;
        from = mark + 2;
        if (mark[1] == 0) continue;
        *length = at - to - 1;
        memset(to + *length, 0, SLACK);
        return mark[1] == 0xD9;
    }
    return 0;
}

/* What the next LOOK bits stand for, of codes that are whole in them; bits behind a code are counted, not looked at. */
static unsigned many_of(const Huffman *table, unsigned look) {
    unsigned bits = 0, coefficients = 0;
    while (bits < LOOK) {
        unsigned rest = look << bits & ((1 << LOOK) - 1), length = table->length[rest], symbol = table->symbol[rest], size = symbol & 15;
        if (!length || bits + length > LOOK || size > AC_BITS || (!size && symbol && symbol != 0xF0) || coefficients >= BLOCK) break;
        bits += length + size;
        if (!symbol) return bits | coefficients << 6 | 1 << 13;
        coefficients += (symbol >> 4) + 1;
    }
    return bits | (bits ? coefficients : BLOCK) << 6;
}

/* Makes the table of a definition, unless it is that already; how many bytes the definition takes, 0 where it is not sound. */
static size_t define(Huffman *table, const uint8_t *at, size_t length, int is_dc) {
    int count = 0;
    if (length < LONGEST_CODE) return 0;
    for (int i = 0; i < LONGEST_CODE; i++) count += at[i];
    if (!count || count > 256 || length < (size_t)(LONGEST_CODE + count)) return 0; /* of no codes no bits are ever taken */
    if (table->size == count && !memcmp(table->counts, at, LONGEST_CODE) && !memcmp(table->symbols, at + LONGEST_CODE, count))
        return LONGEST_CODE + count;
    *table = (Huffman){.size = -1};
    memcpy(table->counts, at, LONGEST_CODE);
    memcpy(table->symbols, at + LONGEST_CODE, count);
    uint32_t code = 0;
    for (int length = 1, place = 0; length <= LONGEST_CODE; length++, code <<= 1) {
        table->place[length] = place - (int)code;
        for (int i = 0; i < table->counts[length - 1]; i++, code++, place++) {
            if ((code + 1) >> length || (is_dc && table->symbols[place] > DC_BITS)) return 0; /* no code is all ones */
            if (length > LOOK) continue;
            memset(table->symbol + (code << (LOOK - length)), table->symbols[place], 1 << (LOOK - length));
            memset(table->length + (code << (LOOK - length)), length, 1 << (LOOK - length));
        }
        table->end[length] = code << (LONGEST_CODE - length);
    }
    for (unsigned look = 0; !is_dc && look < 1 << LOOK; look++) table->many[look] = (uint16_t)many_of(table, look);
    table->size = count;
    return LONGEST_CODE + count;
}

static int word_at(const uint8_t *at) { return at[0] << 8 | at[1]; }

/* Frame header: 8 bits, one colour or three, of which the latter two are whole, halved in width, or halved both ways. */
static int read_frame(Picture *picture, const uint8_t *at, int length, const uint8_t **components) {
    if (length < 6 + 3 || at[0] != 8 || *components) return 0;
    picture->tall = word_at(at + 1), picture->wide = word_at(at + 3), picture->colours = at[5];
    picture->across = at[7] >> 4, picture->down = at[7] & 15;
    *components = at + 6;
    if ((picture->colours != 1 && picture->colours != COLOURS) || length != 6 + 3 * picture->colours) return 0;
    for (int i = 0; i < picture->colours; i++)
        if (at[6 + 3 * i] != i + 1 || (i && at[7 + 3 * i] != 0x11)) return 0;
    if (picture->across < 1 || picture->across > 2 || picture->down < 1 || picture->down > picture->across) return 0;
    if (picture->colours == 1) picture->across = picture->down = 1; /* blocks of a colour alone lie row by row */
    if (!picture->wide || !picture->tall || picture->wide > MOST_SIDE || picture->tall > MOST_SIDE) return 0;
    picture->blocks_x = (picture->wide + 8 * picture->across - 1) / (8 * picture->across);
    picture->blocks_y = (picture->tall + 8 * picture->down - 1) / (8 * picture->down);
    picture->wide = (picture->wide + 7) / 8, picture->tall = (picture->tall + 7) / 8;
    return 1;
}

typedef struct {
    const uint8_t *steps[4];
    Huffman *huffman[2][TABLES];
} Tables;

/* Scan header: all colours at once, each with the tables that it names. */
static int read_scan(Picture *picture, const uint8_t *at, int length, const uint8_t *components, const Tables *tables) {
    int colours = picture->colours;
    if (!components || length != 4 + 2 * colours || at[0] != colours) return 0;
    for (int i = 0; i < colours; i++) {
        int steps = components[3 * i + 2], dc = at[2 + 2 * i] >> 4, ac = at[2 + 2 * i] & 15;
        if (at[1 + 2 * i] != i + 1 || steps > 3 || dc >= TABLES || ac >= TABLES) return 0;
        picture->steps[i] = tables->steps[steps], picture->dc[i] = tables->huffman[0][dc], picture->ac[i] = tables->huffman[1][ac];
        if (!picture->steps[i] || !picture->dc[i] || !picture->ac[i]) return 0;
    }
    return at[1 + 2 * colours] == 0 && at[2 + 2 * colours] == BLOCK - 1 && at[3 + 2 * colours] == 0;
}

/* The tables of the picture before on this thread: most pictures have those that the standard proposes. */
static _Thread_local Huffman made[2][TABLES];

static int read_huffman(Tables *tables, const uint8_t *at, int length) {
    for (size_t taken; length > 0; at += taken, length -= (int)taken) {
        int is_ac = at[0] >> 4, place = at[0] & 15;
        if (is_ac > 1 || place >= TABLES || !(taken = define(&made[is_ac][place], at + 1, length - 1, !is_ac))) return 0;
        tables->huffman[is_ac][place] = &made[is_ac][place];
        taken++;
    }
    return 1;
}

static int read_steps(Tables *tables, const uint8_t *at, int length) {
    for (; length > 0; at += 1 + BLOCK, length -= 1 + BLOCK) {
        if (at[0] > 3 || length < 1 + BLOCK) return 0; /* the upper half of the byte: of 16 bits */
        tables->steps[at[0]] = at + 1;
    }
    return 1;
}

/* Whether a segment of an application, or a comment, is one that changes no colour and draws no warning of libjpeg. */
static int is_harmless(int kind, const uint8_t *at, int length) {
    if (kind == 0xE0) return length < 6 || memcmp(at, "JFIF", 5) || at[5] == 1;
    if (kind == 0xEE) return length < 5 || memcmp(at, "Adobe", 5) || (length >= 12 && at[11] == 1);
    return kind == 0xFE || (kind > 0xE0 && kind <= 0xEF);
}

/* All before the scan; 0 where it is not plain. */
static int read_header(Picture *picture, const uint8_t *body, size_t size) {
    Tables tables = {0};
    const uint8_t *at = body + 2, *components = NULL;
    picture->end = body + size;
    if (size < 2 || word_at(body) != 0xFFD8) return 0;
    while (picture->end - at >= 4 && at[0] == 0xFF) {
        int kind = at[1], length = word_at(at + 2) - 2, is_good;
        const uint8_t *data = at + 4;
        if (length < 0 || picture->end - data < length) return 0;
        at = data + length;
        if (kind == 0xDA) {
            picture->scan = at;
            return read_scan(picture, data, length, components, &tables);
        }
        if (kind == 0xC0 || kind == 0xC1) is_good = read_frame(picture, data, length, &components);
        else if (kind == 0xC4) is_good = read_huffman(&tables, data, length);
        else if (kind == 0xDB) is_good = read_steps(&tables, data, length);
        else if (kind == 0xDD) is_good = length == 2 && !word_at(data); /* restarts */
        else is_good = is_harmless(kind, data, length);
        if (!is_good) return 0;
    }
    return 0;
}

/* The pixels of a body, uint8[tall, wide, 3]; NULL where it is not a sound, plain JPEG, and `has_memory` 0 where there is none. */
static uint8_t *pixels_of(const uint8_t *body, size_t size, Picture *picture, int *has_memory) {
    if (!read_header(picture, body, size)) return NULL;
    size_t scan = picture->end - picture->scan, length;
    size_t blocks = (size_t)picture->blocks_x * picture->blocks_y, plane = blocks * picture->across * picture->down;
    if (blocks > 4 * scan) return NULL; /* a block takes two bits or more */
    uint8_t *planes = malloc(COLOURS * plane + scan + SLACK), *bits = planes + COLOURS * plane;
    uint8_t *pixels = malloc((size_t)picture->wide * picture->tall * COLOURS);
    *has_memory = planes && pixels;
    int is_sound = *has_memory && unstuffed(picture, bits, &length) && planes_of(picture, bits, length, planes);
    if (is_sound) to_rgb(picture, planes, pixels);
    free(planes);
    if (is_sound) return pixels;
    free(pixels);
    return NULL;
}

static PyObject *py_eighth(PyObject *self, PyObject *body) {
    (void)self;
    Py_buffer view;
    Picture picture = {0};
    int has_memory = 1;
    if (PyObject_GetBuffer(body, &view, PyBUF_SIMPLE) < 0) return NULL;
    uint8_t *pixels;
    Py_BEGIN_ALLOW_THREADS
    pixels = pixels_of(view.buf, (size_t)view.len, &picture, &has_memory);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&view);
    if (!has_memory) return PyErr_NoMemory();
    if (!pixels) Py_RETURN_NONE;
    Py_ssize_t size = (Py_ssize_t)picture.wide * picture.tall * COLOURS;
    PyObject *result = Py_BuildValue("y#ii", pixels, size, picture.tall, picture.wide);
    free(pixels);
    return result;
}

static PyMethodDef methods[] = {
    {"eighth", py_eighth, METH_O, "eighth(JPEG): (RGB bytes, height, width), or None where it is not a sound, plain one."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_pairmill_eighth", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__pairmill_eighth(void) { return PyModuleDef_Init(&module); }
