#include "cli/safetensors.h"

#include "base/err.h"
#include "base/file.h"
#include "base/str.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static const size_t ST_MAX_BYTES = (size_t)16 << 30; /* of a file */

static const struct {
  const char *name;
  int bytes;
} dtypes[ST_COUNT] = {
#define X(id, name, bytes) {name, bytes},
    ST_DTYPE_TABLE(X)
#undef X
};

const char *
st_dtype_name(StDtype d)
{
  return dtypes[d].name;
}

int
st_dtype_bytes(StDtype d)
{
  return dtypes[d].bytes;
}

static attnc_status
bad(attnc_error *e, const char *name, const char *why)
{
  return err_set(e, ATTNC_ERR_IO, "not a safetensors file: %s%.80s%s%s",
                 name ? "tensor " : "", name ? name : "", name ? ": " : "", why);
}

static uint64_t
little_endian(const char *p)
{
  uint64_t v = 0;
  for (int i = 7; i >= 0; i--)
    v = v << 8 | (unsigned char)p[i];
  return v;
}

static bool
dtype_of(const json_t *j, StDtype *out)
{
  const char *name = json_string_value(j);
  for (int i = 0; name && i < ST_COUNT; i++)
    if (str_eq(name, dtypes[i].name)) {
      *out = (StDtype)i;
      return true;
    }
  return false;
}

/* Elements times bytes of an element, NULL if fine, else what is wrong with the shape. */
static const char *
shape_of(const json_t *j, StTensor *t, uint64_t *bytes)
{
  if (!json_is_array(j))
    return "shape is not an array";
  if (json_array_size(j) > ST_MAX_RANK)
    return "more than 8 dimensions";
  *bytes = (uint64_t)dtypes[t->dtype].bytes;
  t->rank = (int)json_array_size(j);
  for (int i = 0; i < t->rank; i++) {
    const json_t *d = json_array_get(j, (size_t)i);
    if (!json_is_integer(d) || json_integer_value(d) < 0)
      return "a dimension is not an integer";
    t->shape[i] = json_integer_value(d);
    if (__builtin_mul_overflow(*bytes, (uint64_t)t->shape[i], bytes))
      return "the shape is too large";
  }
  return NULL;
}

static const char *
offsets_of(const json_t *j, uint64_t room, uint64_t *begin, uint64_t *end)
{
  const json_t *a = json_array_get(j, 0), *b = json_array_get(j, 1);
  if (json_array_size(j) != 2 || !json_is_integer(a) || !json_is_integer(b))
    return "data_offsets is not a pair of integers";
  if (json_integer_value(a) < 0 || json_integer_value(b) < json_integer_value(a))
    return "data_offsets run backwards";
  *begin = (uint64_t)json_integer_value(a);
  *end = (uint64_t)json_integer_value(b);
  return *end > room ? "data_offsets reach past the end of the file" : NULL;
}

static const char *
read_tensor(const json_t *j, const char *data, uint64_t room, StTensor *t)
{
  uint64_t bytes, begin, end;
  if (!json_is_object(j))
    return "not an object";
  if (!dtype_of(json_object_get(j, "dtype"), &t->dtype))
    return "unknown dtype";
  const char *why = shape_of(json_object_get(j, "shape"), t, &bytes);
  if (!why)
    why = offsets_of(json_object_get(j, "data_offsets"), room, &begin, &end);
  if (why)
    return why;
  if (end - begin != bytes)
    return "data_offsets do not fit dtype and shape";
  t->data = data + begin;
  t->bytes = (size_t)bytes;
  return NULL;
}

static int
by_place(const void *a, const void *b)
{
  const StTensor *x = a, *y = b;
  if (x->data != y->data)
    return (const char *)x->data < (const char *)y->data ? -1 : 1;
  return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

static attnc_status
check_cover(StTensor *t, int n, const char *data, size_t room, attnc_error *e)
{
  if (n > 1)
    qsort(t, (size_t)n, sizeof *t, by_place);
  const char *at = data;
  for (int i = 0; i < n; i++) {
    const char *begin = t[i].data;
    if (begin != at)
      return bad(e, t[i].name,
                 begin < at ? "overlaps the one before it" : "a gap before its data");
    at += t[i].bytes;
  }
  if (at != data + room)
    return bad(e, NULL, "bytes after the last tensor");
  return ATTNC_OK;
}

static attnc_status
read_tensors(json_t *header, const char *data, size_t room, Arena *arena, StTensor **out,
             int *count, attnc_error *e)
{
  if (!json_is_object(header))
    return bad(e, NULL, "the header is not a JSON object");
  if (json_object_size(header) > ST_MAX_TENSORS)
    return bad(e, NULL, "more than 4096 tensors");
  StTensor *t = NEW_N(arena, StTensor, json_object_size(header) + 1);
  int n = 0;
  const char *name;
  json_t *value;
  json_object_foreach(header, name, value)
  {
    if (str_eq(name, "__metadata__"))
      continue;
    const char *why = read_tensor(value, data, room, &t[n]);
    if (why)
      return bad(e, name, why);
    t[n++].name = arena_strdup(arena, name);
  }
  *out = t;
  *count = n;
  return check_cover(t, n, data, room, e);
}

attnc_status
st_parse(const char *bytes, size_t n, Arena *arena, StTensor **out, int *count,
         attnc_error *e)
{
  if (n < 8)
    return bad(e, NULL, "shorter than 8 bytes");
  uint64_t length = little_endian(bytes);
  if (length > ST_MAX_HEADER)
    return bad(e, NULL, "the header is said to be larger than 16 MiB");
  if (length > n - 8)
    return bad(e, NULL, "the file ends within the header");
  json_error_t je;
  json_t *header = json_loadb(bytes + 8, (size_t)length, JSON_REJECT_DUPLICATES, &je);
  if (!header)
    return bad(e, NULL, je.text);
  const char *data = bytes + 8 + length;
  attnc_status st =
      read_tensors(header, data, n - 8 - (size_t)length, arena, out, count, e);
  json_decref(header);
  return st;
}

/* Where the data of a header's tensors end; what is wrong with it is st_parse's to say. */
static size_t
data_end(const json_t *header)
{
  size_t end = 0;
  const char *name;
  json_t *value;
  json_object_foreach((json_t *)(uintptr_t)header, name, value)
  {
    const json_t *at = json_array_get(json_object_get(value, "data_offsets"), 1);
    json_int_t v = json_is_integer(at) ? json_integer_value(at) : 0;
    if (v > 0 && (size_t)v > end)
      end = (size_t)v;
  }
  return end < ST_MAX_BYTES ? end : ST_MAX_BYTES;
}

/* The header's length, the header, what it says; and one byte more, which must not be
 * there. */
static size_t
wanted(const char *bytes, size_t n)
{
  if (n < 8)
    return 8;
  uint64_t length = little_endian(bytes);
  if (length > ST_MAX_HEADER)
    return 8;
  if (n < 8 + length)
    return 8 + (size_t)length;
  json_t *header = json_loadb(bytes + 8, (size_t)length, 0, NULL);
  size_t end = 8 + (size_t)length + (header ? data_end(header) + 1 : 0);
  json_decref(header);
  return end;
}

attnc_status
st_read(const char *path, StFile *f, attnc_error *e)
{
  *f = (StFile){.arena = arena_new(0)};
  if (!f->arena)
    return err_set(e, ATTNC_ERR_NOMEM, "out of memory");
  size_t n;
  attnc_status st = file_read_wanted(path, wanted, ST_MAX_BYTES, &f->raw, &n, e);
  if (st == ATTNC_OK) {
    attnc_error why;
    st = st_parse(f->raw, n, f->arena, &f->at, &f->n, &why);
    if (st != ATTNC_OK)
      err_set(e, st, "%.300s: %s", path, why.message);
  }
  if (st != ATTNC_OK)
    st_free(f);
  return st;
}

void
st_free(StFile *f)
{
  free(f->raw);
  arena_free(f->arena);
  *f = (StFile){0};
}

const StTensor *
st_find(const StFile *f, const char *name)
{
  for (int i = 0; i < f->n; i++)
    if (str_eq(f->at[i].name, name))
      return &f->at[i];
  return NULL;
}

static size_t
write_header(const StTensor *t, int n, Str *s)
{
  size_t at = 0;
  str_put(s, "{");
  for (int i = 0; i < n; i++) {
    str_put(s, i ? "," : "");
    str_json(s, t[i].name);
    str_printf(s, ":{\"dtype\":\"%s\",\"shape\":[", dtypes[t[i].dtype].name);
    for (int d = 0; d < t[i].rank; d++)
      str_printf(s, "%s%lld", d ? "," : "", (long long)t[i].shape[d]);
    str_printf(s, "],\"data_offsets\":[%zu,%zu]}", at, at + t[i].bytes);
    at += t[i].bytes;
  }
  str_put(s, "}");
  while (s->n % 8) /* so that the data is aligned */
    str_put(s, " ");
  return at;
}

attnc_status
st_write(const char *path, const StTensor *t, int n, attnc_error *e)
{
  Arena *arena = arena_new(0);
  if (!arena)
    return err_set(e, ATTNC_ERR_NOMEM, "out of memory");
  Str header = str_new(arena);
  size_t data = write_header(t, n, &header), total = 8 + header.n + data;
  char *bytes = malloc(total), *at = bytes;
  if (!bytes) {
    arena_free(arena);
    return err_set(e, ATTNC_ERR_NOMEM, "%s: %zu bytes: out of memory", path, total);
  }
  for (int i = 0; i < 8; i++)
    *at++ = (char)((uint64_t)header.n >> 8 * i & 0xff);
  memcpy(at, header.p, header.n);
  at += header.n;
  for (int i = 0; i < n; i++) {
    if (t[i].bytes)
      memcpy(at, t[i].data, t[i].bytes);
    at += t[i].bytes;
  }
  attnc_status st = file_write_stream(path, bytes, total, e);
  free(bytes);
  arena_free(arena);
  return st;
}
