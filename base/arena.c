#include "base/arena.h"

#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Under AddressSanitizer every allocation is a block of its own, so that one that is
 * overrun is seen. */
#if defined(__SANITIZE_ADDRESS__)
#define LONE_BLOCKS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LONE_BLOCKS 1
#endif
#endif
#ifndef LONE_BLOCKS
#define LONE_BLOCKS 0
#endif

/* Both arbitrary: a spec fits the first block, a compile takes a handful. */
enum { ALIGNMENT = 16, FIRST_BLOCK = 16 << 10, LARGEST_BLOCK = 1 << 20 };

typedef struct Block {
  struct Block *next;
  size_t used, size;
  _Alignas(ALIGNMENT) unsigned char bytes[];
} Block;

struct Arena {
  Block *blocks;
  size_t used, limit, next_size;
  jmp_buf *catch_point;
};

Arena *
arena_new(size_t limit)
{
  Arena *a = calloc(1, sizeof *a);
  if (!a)
    return NULL;
  a->limit = limit ? limit : SIZE_MAX;
  a->next_size = LONE_BLOCKS ? 0 : FIRST_BLOCK;
  return a;
}

void
arena_free(Arena *a)
{
  if (!a)
    return;
  for (Block *b = a->blocks, *next; b; b = next) {
    next = b->next;
    free(b);
  }
  free(a);
}

void
arena_catch(Arena *a, jmp_buf *catch_point)
{
  a->catch_point = catch_point;
}

static void *
exhausted(Arena *a)
{
  if (a->catch_point)
    longjmp(*a->catch_point, 1);
  return NULL;
}

static Block *
add_block(Arena *a, size_t least)
{
  size_t size = least > a->next_size ? least : a->next_size;
  Block *b = calloc(1, sizeof *b + size);
  if (!b)
    return NULL;
  b->size = size;
  b->next = a->blocks;
  a->blocks = b;
  if (a->next_size < LARGEST_BLOCK)
    a->next_size *= 2;
  return b;
}

void *
arena_alloc(Arena *a, size_t n)
{
  if (n > SIZE_MAX / 2)
    return exhausted(a);
  n = n ? (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT : ALIGNMENT;
  if (n > a->limit - a->used)
    return exhausted(a);
  Block *b = a->blocks;
  if (!b || b->size - b->used < n)
    b = add_block(a, n);
  if (!b)
    return exhausted(a);
  void *p = b->bytes + b->used;
  b->used += n;
  a->used += n;
  return p;
}

char *
arena_strndup(Arena *a, const char *text, size_t n)
{
  char *p = arena_alloc(a, n + 1);
  if (p)
    memcpy(p, text, n);
  return p;
}

char *
arena_strdup(Arena *a, const char *text)
{
  return arena_strndup(a, text, strlen(text));
}

char *
arena_vprintf(Arena *a, const char *fmt, va_list args)
{
  va_list again;
  va_copy(again, args);
  int n = vsnprintf(NULL, 0, fmt, args);
  char *p = n < 0 ? exhausted(a) : arena_alloc(a, (size_t)n + 1);
  if (p)
    vsnprintf(p, (size_t)n + 1, fmt, again);
  va_end(again);
  return p;
}

char *
arena_printf(Arena *a, const char *fmt, ...)
{
  va_list args;
  va_start(args, fmt);
  char *p = arena_vprintf(a, fmt, args);
  va_end(args);
  return p;
}

size_t
arena_used(const Arena *a)
{
  return a->used;
}

int
vec_room(Arena *a, void **at, int *n, int *cap, size_t size)
{
  if (*n == *cap) {
    if (*cap > INT_MAX / 2)
      return exhausted(a) != NULL;
    int grown = *cap ? *cap * 2 : 8;
    void *p = arena_alloc(a, (size_t)grown * size);
    if (!p)
      return 0;
    if (*n)
      memcpy(p, *at, (size_t)*n * size);
    *at = p;
    *cap = grown;
  }
  memset((char *)*at + (size_t)*n * size, 0, size);
  ++*n;
  return 1;
}
