/* arena.h: memory that is freed all at once.
 *
 * One arena per compile, one per spec.  Allocations are zeroed and 16-byte aligned and are
 * never freed one by one.  When memory (or the arena's limit) is exhausted, alloc jumps to
 * the arena's catch point if there is one, else returns NULL.  Not thread-safe: an arena
 * belongs to one thread at a time. */
#ifndef ATTNC_BASE_ARENA_H
#define ATTNC_BASE_ARENA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

typedef struct Arena Arena;

Arena *arena_new(size_t limit); /* bytes; 0: no limit.  NULL: out of memory */
void arena_free(Arena *);       /* NULL is fine */
/* Exhaustion longjmps here with value 1.  NULL: return NULL instead. */
void arena_catch(Arena *, jmp_buf *);
void *arena_alloc(Arena *, size_t n);
char *arena_strdup(Arena *, const char *);
char *arena_strndup(Arena *, const char *, size_t n);
char *arena_printf(Arena *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
char *arena_vprintf(Arena *, const char *fmt, va_list);
size_t arena_used(const Arena *);

#define NEW(arena, T)      ((T *)arena_alloc((arena), sizeof(T)))
#define NEW_N(arena, T, n) ((T *)arena_alloc((arena), sizeof(T) * (size_t)(n)))

/* A growing array in an arena: struct { T *at; int n, cap; } v; vec_push(arena, &v) is a
 * pointer to one more, zeroed element (NULL when out of memory without a catch point). */
#define VEC(T)                                                                             \
  struct {                                                                                 \
    T *at;                                                                                 \
    int n, cap;                                                                            \
  }
#define vec_push(arena, v)                                                                 \
  (vec_room((arena), (void **)&(v)->at, &(v)->n, &(v)->cap, sizeof *(v)->at)               \
       ? &(v)->at[(v)->n - 1]                                                              \
       : NULL)
int vec_room(Arena *, void **at, int *n, int *cap, size_t size);

#endif
