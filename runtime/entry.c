#include "runtime/entry.h"

#include "base/hash.h"
#include "runtime/zstd.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const char magic[8] = {'a', 't', 't', 'n', 'c', 'E', '1', '\n'};
static const char packed_magic[8] = {'a', 't', 't', 'n', 'c', 'Z', '1', '\n'};
const char entry_needs_zstd[] = "it is compressed, and there is no libzstd.so.1";
enum { PACKED_BYTES = 8, PACKED_KEY = 16, PACKED_SUM = 48 };
enum { VERSION = 1, AT_VERSION = 8, AT_KEY = 16, AT_LENGTHS = 48, AT_SUM = 72 };

static void
put64(unsigned char *p, uint64_t v)
{
  for (int i = 0; i < 8; i++)
    p[i] = (unsigned char)(v >> (8 * i));
}

static uint64_t
get64(const unsigned char *p)
{
  uint64_t v = 0;
  for (int i = 0; i < 8; i++)
    v |= (uint64_t)p[i] << (8 * i);
  return v;
}

/* Over all but the 32 bytes from `at` on, where it stands. */
static void
checksum(const Entry *x, size_t at, unsigned char sum[32])
{
  Sha256 s;
  sha256_start(&s);
  sha256_add(&s, x->bytes, at);
  sha256_add(&s, x->bytes + at + 32, x->n - at - 32);
  sha256_end(&s, sum);
}

Entry *
entry_room(size_t n)
{
  if (n > ENTRY_MAX)
    return NULL;
  Entry *x = calloc(1, sizeof *x + n);
  if (!x)
    return NULL;
  x->refs = 1;
  x->n = n;
  x->bytes = (unsigned char *)(x + 1);
  return x;
}

static unsigned char *
put_text(unsigned char *p, const char *text, size_t n)
{
  memcpy(p, text, n);
  p[n] = 0;
  return p + n + 1;
}

/* Lengths are trusted: they are those of the header, checked against n. */
static void
point(Entry *x)
{
  x->spec = (const char *)x->bytes + ENTRY_HEADER;
  x->json = x->spec + x->spec_n + 1;
  x->ptx = x->json + x->json_n + 1;
}

Entry *
entry_make(const unsigned char key[32], const char *spec, const char *json, const char *ptx,
           size_t ptx_n)
{
  size_t spec_n = strlen(spec), json_n = strlen(json);
  if (spec_n > ENTRY_MAX || json_n > ENTRY_MAX || ptx_n > ENTRY_MAX)
    return NULL;
  Entry *x = entry_room(ENTRY_HEADER + spec_n + json_n + ptx_n + 3);
  if (!x)
    return NULL;
  x->spec_n = spec_n;
  x->json_n = json_n;
  x->ptx_n = ptx_n;
  memcpy(x->key, key, 32);
  memcpy(x->bytes, magic, sizeof magic);
  put64(x->bytes + AT_VERSION, VERSION);
  memcpy(x->bytes + AT_KEY, key, 32);
  put64(x->bytes + AT_LENGTHS, spec_n);
  put64(x->bytes + AT_LENGTHS + 8, json_n);
  put64(x->bytes + AT_LENGTHS + 16, ptx_n);
  unsigned char *p = put_text(x->bytes + ENTRY_HEADER, spec, spec_n);
  p = put_text(p, json, json_n);
  put_text(p, ptx, ptx_n);
  checksum(x, AT_SUM, x->bytes + AT_SUM);
  point(x);
  return x;
}

static const char *
check_lengths(Entry *x)
{
  uint64_t n[3], sum = ENTRY_HEADER + 3;
  for (int i = 0; i < 3; i++) {
    n[i] = get64(x->bytes + AT_LENGTHS + 8 * i);
    if (n[i] > ENTRY_MAX)
      return "a length is absurd";
    sum += n[i];
  }
  if (sum != x->n)
    return "the lengths do not add up to the file";
  x->spec_n = (size_t)n[0];
  x->json_n = (size_t)n[1];
  x->ptx_n = (size_t)n[2];
  return NULL;
}

static const char *
check_texts(Entry *x)
{
  point(x);
  if (x->spec[x->spec_n] || x->json[x->json_n] || x->ptx[x->ptx_n])
    return "a text does not end where its length says";
  return NULL;
}

/* All but the checksum. */
static const char *
check_form(Entry *x, const unsigned char key[32])
{
  if (x->n < ENTRY_HEADER + 3)
    return "shorter than a header";
  if (memcmp(x->bytes, magic, sizeof magic) != 0)
    return "not an entry";
  if (get64(x->bytes + AT_VERSION) != VERSION)
    return "of another format version";
  memcpy(x->key, x->bytes + AT_KEY, 32);
  if (key && memcmp(x->key, key, 32) != 0)
    return "the entry of another key";
  return check_lengths(x);
}

static bool
sum_is(const Entry *x, size_t at)
{
  unsigned char sum[32];
  checksum(x, at, sum);
  return !memcmp(sum, x->bytes + at, 32);
}

const char *
entry_check(Entry *x, const unsigned char key[32])
{
  const char *why = check_form(x, key);
  if (why)
    return why;
  if (!sum_is(x, AT_SUM))
    return "the checksum is wrong";
  return check_texts(x);
}

/* ---- packed ---- */

Entry *
entry_packed(const Entry *x, int level)
{
  if (!level || x->n <= ENTRY_PACKED)
    return NULL;
  Entry *p = entry_room(x->n);
  size_t n = !p ? 0
                : zstd_pack(p->bytes + ENTRY_PACKED, x->n - ENTRY_PACKED - 1, x->bytes,
                            x->n, level);
  if (!n) {
    entry_release(p);
    return NULL;
  }
  p->n = ENTRY_PACKED + n;
  memcpy(p->bytes, packed_magic, sizeof packed_magic);
  put64(p->bytes + PACKED_BYTES, x->n);
  memcpy(p->bytes + PACKED_KEY, x->key, 32);
  checksum(p, PACKED_SUM, p->bytes + PACKED_SUM);
  return p;
}

static bool
is_packed(const unsigned char *head)
{
  return !memcmp(head, packed_magic, sizeof packed_magic);
}

uint64_t
entry_bytes(const unsigned char *head, uint64_t file_bytes)
{
  return is_packed(head) ? get64(head + PACKED_BYTES) : file_bytes;
}

/* Of bytes whose checksum was right. */
static const char *
unpack(const Entry *from, Entry **out, const unsigned char key[32])
{
  if (!zstd_there())
    return entry_needs_zstd;
  const uint64_t n = get64(from->bytes + PACKED_BYTES);
  Entry *x = n <= ENTRY_MAX ? entry_room((size_t)n) : NULL;
  if (!x)
    return "there is no room for it";
  const char *why = zstd_unpack(x->bytes, x->n, from->bytes + ENTRY_PACKED,
                                from->n - ENTRY_PACKED) != x->n
                        ? "the frame does not unpack to what it should"
                        : check_form(x, key);
  if (!why)
    why = check_texts(x);
  if (why)
    entry_release(x);
  else
    *out = x;
  return why;
}

const char *
entry_open(Entry **x, const unsigned char key[32])
{
  Entry *from = *x;
  if (from->n < ENTRY_PACKED || !is_packed(from->bytes))
    return entry_check(from, key);
  if (key && memcmp(from->bytes + PACKED_KEY, key, 32) != 0)
    return "the entry of another key";
  if (!sum_is(from, PACKED_SUM))
    return "the checksum is wrong";
  const char *why = unpack(from, x, key);
  if (!why)
    entry_release(from);
  return why;
}

void
entry_retain(Entry *x)
{
  __atomic_add_fetch(&x->refs, 1, __ATOMIC_RELAXED);
}

void
entry_release(Entry *x)
{
  if (x && __atomic_sub_fetch(&x->refs, 1, __ATOMIC_ACQ_REL) == 0)
    free(x);
}
