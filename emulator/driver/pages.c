#include "emulator/driver/pages.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ALIGNMENT = 512, LARGE = 4 << 20, PATTERN = 4 << 20, PIECE = 1 << 16 };

static uint64_t
whole(uint64_t bytes, uint64_t unit)
{
  return (bytes + unit - 1) / unit * unit;
}

static uint8_t *
small(uint64_t bytes, bool zeros)
{
  uint64_t n = whole(bytes, ALIGNMENT);
  uint8_t *p = aligned_alloc(ALIGNMENT, n);
  if (p)
    memset(p, zeros ? 0 : 0xff, n);
  return p;
}

/* ---- large blocks of 0xff: one file of them, mapped again and again ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int pattern = -1; /* guarded by it */

static int
make_pattern(void)
{
  uint8_t piece[PIECE];
  int fd = memfd_create("attnc_unwritten", MFD_CLOEXEC);
  memset(piece, 0xff, sizeof piece);
  for (int at = 0; fd >= 0 && at < PATTERN; at += PIECE)
    if (write(fd, piece, sizeof piece) != sizeof piece) {
      close(fd);
      fd = -1;
    }
  return fd;
}

static int
get_pattern(void)
{
  pthread_mutex_lock(&lock);
  if (pattern < 0)
    pattern = make_pattern();
  int fd = pattern;
  pthread_mutex_unlock(&lock);
  return fd;
}

/* The library goes. */
__attribute__((destructor)) static void
close_pattern(void)
{
  pthread_mutex_lock(&lock);
  if (pattern >= 0)
    close(pattern);
  pattern = -1;
  pthread_mutex_unlock(&lock);
}

static bool
fill_lazily(uint8_t *p, uint64_t bytes)
{
  int fd = get_pattern();
  bool ok = fd >= 0;
  for (uint64_t at = 0; ok && at < bytes; at += PATTERN) {
    uint64_t n = bytes - at < PATTERN ? bytes - at : PATTERN;
    ok = mmap(p + at, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE,
              fd, 0) != MAP_FAILED;
  }
  return ok;
}

static uint64_t
mapped(uint64_t bytes)
{
  return whole(bytes, (uint64_t)sysconf(_SC_PAGESIZE));
}

/* Where the pattern cannot be had, every page is written. */
static uint8_t *
large(uint64_t bytes, bool zeros)
{
  uint64_t n = mapped(bytes);
  void *p = mmap(NULL, n, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED)
    return NULL;
  if (!zeros && !fill_lazily(p, n))
    memset(p, 0xff, n);
  return p;
}

uint8_t *
pages_new(uint64_t bytes, bool zeros)
{
  return bytes < LARGE ? small(bytes, zeros) : large(bytes, zeros);
}

void
pages_free(uint8_t *p, uint64_t bytes)
{
  if (bytes < LARGE)
    free(p);
  else
    munmap(p, mapped(bytes));
}
