#include "runtime/entry.h"

#include "base/hash.h"

#include <stdlib.h>
#include <string.h>

static const char magic[8] = {'a', 't', 't', 'n', 'c', 'E', '1', '\n'};
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

static void
checksum(const Entry *x, unsigned char sum[32])
{
  Sha256 s;
  sha256_start(&s);
  sha256_add(&s, x->bytes, AT_SUM);
  sha256_add(&s, x->bytes + ENTRY_HEADER, x->n - ENTRY_HEADER);
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
  checksum(x, x->bytes + AT_SUM);
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

const char *
entry_check(Entry *x, const unsigned char key[32])
{
  unsigned char sum[32];
  if (x->n < ENTRY_HEADER + 3)
    return "shorter than a header";
  if (memcmp(x->bytes, magic, sizeof magic) != 0)
    return "not an entry";
  if (get64(x->bytes + AT_VERSION) != VERSION)
    return "of another format version";
  memcpy(x->key, x->bytes + AT_KEY, 32);
  if (key && memcmp(x->key, key, 32) != 0)
    return "the entry of another key";
  const char *why = check_lengths(x);
  if (why)
    return why;
  checksum(x, sum);
  if (memcmp(sum, x->bytes + AT_SUM, 32) != 0)
    return "the checksum is wrong";
  return check_texts(x);
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
