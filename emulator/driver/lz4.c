#include "emulator/driver/image.h"

#include <string.h>

/* A block is sequences: a token (how many literals, how long a match), literals, and an
 * offset back into what has been written, from which the match is copied.  The last one has
 * literals alone. */
enum { LONG = 15, MIN_MATCH = 4 };

typedef struct Input {
  const uint8_t *p, *end;
} Input;

/* 15 means that bytes follow which are added, up to the first that is not 255. */
static bool
read_length(Input *in, size_t *length)
{
  uint8_t more = 255;
  if (*length != LONG)
    return true;
  while (more == 255) {
    if (in->p == in->end)
      return false;
    more = *in->p++;
    *length += more;
  }
  return true;
}

static bool
copy_literals(Input *in, size_t length, uint8_t **out, const uint8_t *end)
{
  if (!read_length(in, &length) || length > (size_t)(in->end - in->p) ||
      length > (size_t)(end - *out))
    return false;
  memcpy(*out, in->p, length);
  in->p += length;
  *out += length;
  return true;
}

/* It may overlap what it makes: byte by byte. */
static bool
copy_match(Input *in, size_t length, uint8_t **out, const uint8_t *start,
           const uint8_t *end)
{
  if (in->end - in->p < 2)
    return false;
  size_t offset = (size_t)(in->p[0] | in->p[1] << 8);
  in->p += 2;
  if (!read_length(in, &length) || !offset || offset > (size_t)(*out - start) ||
      length + MIN_MATCH > (size_t)(end - *out))
    return false;
  for (length += MIN_MATCH; length; length--, (*out)++)
    **out = *(*out - offset);
  return true;
}

bool
lz4_decode(const uint8_t *block, size_t size, uint8_t *out, size_t n)
{
  Input in = {block, block + size};
  const uint8_t *start = out, *end = out + n;
  while (in.p < in.end) {
    unsigned token = *in.p++;
    if (!copy_literals(&in, token >> 4, &out, end))
      return false;
    if (in.p == in.end)
      break;
    if (!copy_match(&in, token & LONG, &out, start, end))
      return false;
  }
  return out == end;
}
