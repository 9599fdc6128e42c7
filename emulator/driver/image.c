#include "emulator/driver/image.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A fat binary as nvcc makes it.  The struct that a compiled program registers is declared
 * in CUDA's fatbinary_section.h; the container is not described by NVIDIA: what follows is
 * what containers made by fatbinary 13.0 from known parts look like.  All numbers are
 * little endian; a part is its header, then `bytes` of payload. */
enum { WRAPPER_MAGIC = 0x466243b1 };
#define CONTAINER_MAGIC 0xba55ed50u
#define ELF_MAGIC       0x464c457fu

typedef struct Wrapper {
  int magic, version;
  const void *container;
  void *other; /* a file's name, or more containers */
} Wrapper;

typedef struct Container {
  uint32_t magic;
  uint16_t version, header; /* bytes of this */
  uint64_t bytes;           /* of all parts */
} Container;

typedef struct Part {
  uint16_t kind, version;
  uint32_t header;     /* bytes of this, names and options included */
  uint64_t bytes;      /* of the payload, padded to 8 */
  uint32_t compressed; /* bytes of it that are used */
  uint32_t options;
  uint16_t minor, major; /* of the PTX version */
  uint32_t arch;
  uint32_t name, name_bytes;
  uint64_t flags;
  uint64_t reserved;
  uint64_t plain; /* bytes, uncompressed */
} Part;
_Static_assert(sizeof(Container) == 16 && sizeof(Part) == 64, "as in the file");

enum { KIND_PTX = 1, KIND_ELF = 2 };
enum { FLAG_LZ4 = 0x2000, FLAG_ZSTD = 0x8000 };
enum { MAX_TEXT = 256 << 20 };

/* What is known after looking at all parts. */
typedef struct Choice {
  const Chip *chip;
  char *text; /* malloc'd; NULL: none fits yet */
  int sm;
  char suffix;
  int too_new, zstd, broken; /* parts of PTX that are none for us, */
  unsigned code_arch;        /* of machine code; 0: there is none */
  bool no_memory;
} Choice;

/* ---- one part ---- */

/* The target that PTX text names: 80, and 'a', 'f' or 0; false: it names none. */
static bool
target_of(const char *text, int *sm, char *suffix)
{
  const char *at = strstr(text, ".target");
  int n = 0;
  if (!at || sscanf(at, ".target sm_%d%n", sm, &n) < 1)
    return false;
  *suffix = at[n] == 'a' || at[n] == 'f' ? at[n] : 0;
  return true;
}

static char *
text_of(const Part *p, const uint8_t *payload, Choice *c)
{
  bool lz4 = p->flags & FLAG_LZ4;
  uint64_t n = lz4 ? p->plain : p->bytes;
  if (n > MAX_TEXT || (lz4 && p->compressed > p->bytes)) {
    c->broken++;
    return NULL;
  }
  char *text = malloc(n + 1);
  if (!text) {
    c->no_memory = true;
    return NULL;
  }
  text[n] = 0;
  if (!lz4)
    memcpy(text, payload, n);
  else if (!lz4_decode(payload, p->compressed, (uint8_t *)text, n)) {
    c->broken++;
    free(text);
    return NULL;
  }
  return text;
}

/* Chips of a family run each other's code that says 'f', nobody else's that says 'a'. */
static bool
runs_on(const Chip *c, int sm, char suffix)
{
  return suffix == 'a'   ? sm == c->cc
         : suffix == 'f' ? sm <= c->cc && sm / 10 == c->cc / 10
                         : sm <= c->cc;
}

/* The highest target that runs; of one, the text that is made for this chip. */
static void
consider(Choice *c, char *text)
{
  int sm;
  char suffix;
  if (!target_of(text, &sm, &suffix))
    c->broken++;
  else if (!runs_on(c->chip, sm, suffix))
    c->too_new++;
  else if (!c->text || sm > c->sm || (sm == c->sm && suffix && !c->suffix)) {
    free(c->text);
    c->text = text;
    c->sm = sm;
    c->suffix = suffix;
    return;
  }
  free(text);
}

static void
look_at(Choice *c, const Part *p, const uint8_t *payload)
{
  if (p->kind == KIND_ELF)
    c->code_arch = p->arch;
  if (p->kind != KIND_PTX)
    return;
  if (p->flags & FLAG_ZSTD) {
    c->zstd++;
    return;
  }
  char *text = text_of(p, payload, c);
  if (text)
    consider(c, text);
}

/* ---- the container ---- */

static bool
look_at_all(Choice *c, const uint8_t *data)
{
  Container head;
  memcpy(&head, data, sizeof head);
  if (head.header < sizeof head)
    return false;
  const uint8_t *p = data + head.header;
  for (uint64_t left = head.bytes; left;) {
    Part part;
    if (left < sizeof part)
      return false;
    memcpy(&part, p, sizeof part);
    if (part.header < sizeof part || part.header > left || part.bytes > left - part.header)
      return false;
    look_at(c, &part, p + part.header);
    p += part.header + part.bytes;
    left -= part.header + part.bytes;
  }
  return true;
}

static CUresult
refuse(const Choice *c, char *log, size_t n)
{
  const char *chip = c->chip->name;
  if (c->no_memory)
    return CUDA_ERROR_OUT_OF_MEMORY;
  if (c->zstd) {
    snprintf(log, n,
             "image: error: the PTX in the fat binary is compressed by zstd, which is not "
             "read here: build with nvcc --compress-mode=speed, or --no-compress\n");
    return CUDA_ERROR_INVALID_IMAGE;
  }
  if (c->broken) {
    snprintf(log, n, "image: error: the PTX in the fat binary is damaged\n");
    return CUDA_ERROR_INVALID_IMAGE;
  }
  if (c->too_new)
    snprintf(
        log, n,
        "image: error: none of the %d PTX texts in the fat binary runs on the emulated "
        "%s\n",
        c->too_new, chip);
  else if (c->code_arch)
    snprintf(
        log, n,
        "image: error: the fat binary has machine code for sm_%u and no PTX: build with "
        "nvcc -gencode arch=compute_%d,code=compute_%d\n",
        c->code_arch, c->chip->cc, c->chip->cc);
  else
    snprintf(log, n, "image: error: the fat binary has no code\n");
  return CUDA_ERROR_NO_BINARY_FOR_GPU;
}

static CUresult
read_container(Image *image, const void *data, const Chip *chip, char *log, size_t n)
{
  Choice c = {.chip = chip};
  bool whole = look_at_all(&c, data);
  if (!whole) {
    snprintf(log, n, "image: error: the fat binary is damaged\n");
    free(c.text);
    return CUDA_ERROR_INVALID_IMAGE;
  }
  if (!c.text)
    return refuse(&c, log, n);
  *image = (Image){c.text, c.text};
  return CUDA_SUCCESS;
}

static bool
is_text(const char *image)
{
  while (*image == ' ' || *image == '\n' || *image == '\t' || *image == '\r')
    image++;
  return *image == '.' || *image == '/';
}

/* Byte by byte, since an image says itself how long it is. */
static bool
starts_with(const void *data, uint32_t magic)
{
  const uint8_t *p = data;
  for (int i = 0; i < 4; i++)
    if (p[i] != (magic >> 8 * i & 255))
      return false;
  return true;
}

CUresult
image_read(Image *image, const void *data, const Chip *chip, char *log, size_t n)
{
  if (is_text(data)) {
    *image = (Image){data, NULL};
    return CUDA_SUCCESS;
  }
  if (starts_with(data, WRAPPER_MAGIC)) {
    Wrapper w;
    memcpy(&w, data, sizeof w);
    data = w.container;
  }
  if (data && starts_with(data, CONTAINER_MAGIC))
    return read_container(image, data, chip, log, n);
  if (!data || !starts_with(data, ELF_MAGIC)) {
    snprintf(log, n, "image: error: neither PTX text nor a fat binary\n");
    return CUDA_ERROR_INVALID_IMAGE;
  }
  snprintf(log, n,
           "image: error: machine code, which nobody here executes: PTX is needed\n");
  return CUDA_ERROR_NO_BINARY_FOR_GPU;
}

CUresult
image_file(const char *path, char **data)
{
  FILE *f = fopen(path, "rb");
  if (!f)
    return CUDA_ERROR_FILE_NOT_FOUND;
  long n = fseek(f, 0, SEEK_END) ? -1 : ftell(f);
  rewind(f);
  *data = n < 0 || n > MAX_TEXT ? NULL : calloc((size_t)n + 1, 1);
  bool ok = *data && fread(*data, 1, (size_t)n, f) == (size_t)n;
  fclose(f);
  if (ok)
    return CUDA_SUCCESS;
  free(*data);
  *data = NULL;
  return n < 0 ? CUDA_ERROR_FILE_NOT_FOUND : CUDA_ERROR_OUT_OF_MEMORY;
}
