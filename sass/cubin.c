#include "sass/cubin.h"

#include "base/err.h"
#include "base/str.h"

#include <elf.h>
#include <string.h>

enum {
  MACHINE_CUDA = 190, /* e_machine: EM_CUDA */
  ABI_CUDA_13 = 0x41, /* e_ident[EI_OSABI]: the architecture is in bits 8..15 of e_flags;
                         before CUDA 13 it was 0x33, and in bits 0..7 */
  CODE_MAX = 1 << 24
};
#define TEXT_PREFIX ".text."

typedef struct File {
  const char *bytes;
  size_t n;
  Elf64_Ehdr head;
  Elf64_Shdr names; /* the section with the names of sections */
} File;

static bool
inside(const File *f, uint64_t at, uint64_t n)
{
  return at <= f->n && n <= f->n - at;
}

static bool
read_section(const File *f, int i, Elf64_Shdr *s)
{
  uint64_t at = f->head.e_shoff + (uint64_t)i * sizeof *s;
  if (!inside(f, at, sizeof *s))
    return false;
  memcpy(s, f->bytes + at, sizeof *s);
  return s->sh_type == SHT_NOBITS || inside(f, s->sh_offset, s->sh_size);
}

/* The section's name, 0-terminated within the file; NULL if it is not. */
static const char *
section_name(const File *f, const Elf64_Shdr *s)
{
  if (s->sh_name >= f->names.sh_size)
    return NULL;
  const char *name = f->bytes + f->names.sh_offset + s->sh_name;
  return memchr(name, 0, f->names.sh_size - s->sh_name) ? name : NULL;
}

static attnc_status
read_head(File *f, Cubin *out, attnc_error *e)
{
  if (!inside(f, 0, sizeof f->head))
    return err_set(e, ATTNC_ERR_INTERNAL, "cubin: %zu bytes are no ELF file", f->n);
  memcpy(&f->head, f->bytes, sizeof f->head);
  const unsigned char *id = f->head.e_ident;
  if (memcmp(id, ELFMAG, SELFMAG) != 0 || id[EI_CLASS] != ELFCLASS64)
    return err_set(e, ATTNC_ERR_INTERNAL, "cubin: not an ELF64 file");
  if (f->head.e_machine != MACHINE_CUDA || f->head.e_shentsize != sizeof(Elf64_Shdr))
    return err_set(e, ATTNC_ERR_INTERNAL, "cubin: not a GPU's ELF file: machine %d",
                   f->head.e_machine);
  out->sm =
      (int)(id[EI_OSABI] == ABI_CUDA_13 ? f->head.e_flags >> 8 : f->head.e_flags) & 0xff;
  if (!read_section(f, f->head.e_shstrndx, &f->names) || f->names.sh_type == SHT_NOBITS)
    return err_set(e, ATTNC_ERR_INTERNAL, "cubin: no names of sections");
  return ATTNC_OK;
}

static attnc_status
read_kernel(const File *f, const Elf64_Shdr *s, const char *name, Arena *arena,
            CubinKernel *out, attnc_error *e)
{
  if (s->sh_type != SHT_PROGBITS || s->sh_size % CUBIN_INSTRUCTION ||
      s->sh_size > (uint64_t)CODE_MAX * CUBIN_INSTRUCTION)
    return err_set(e, ATTNC_ERR_INTERNAL, "cubin: %s: %llu bytes are no code", name,
                   (unsigned long long)s->sh_size);
  out->name = arena_strdup(arena, name + strlen(TEXT_PREFIX));
  out->code = f->bytes + s->sh_offset;
  out->n = (int)(s->sh_size / CUBIN_INSTRUCTION);
  return ATTNC_OK;
}

attnc_status
cubin_read(const char *bytes, size_t n, Arena *arena, Cubin *out, attnc_error *e)
{
  File f = {.bytes = bytes, .n = n};
  Elf64_Shdr s;
  *out = (Cubin){0};
  TRY(read_head(&f, out, e));
  out->kernels = NEW_N(arena, CubinKernel, f.head.e_shnum + 1);
  for (int i = 0; i < f.head.e_shnum; i++) {
    const char *name = read_section(&f, i, &s) ? section_name(&f, &s) : NULL;
    if (!name)
      return err_set(e, ATTNC_ERR_INTERNAL, "cubin: section %d is not in the file", i);
    if (str_starts(name, TEXT_PREFIX))
      TRY(read_kernel(&f, &s, name, arena, &out->kernels[out->n++], e));
  }
  return ATTNC_OK;
}

Instruction
cubin_instruction(const CubinKernel *k, int i)
{
  Instruction x;
  memcpy(&x.lo, k->code + (size_t)i * CUBIN_INSTRUCTION, sizeof x.lo);
  memcpy(&x.hi, k->code + (size_t)i * CUBIN_INSTRUCTION + sizeof x.lo, sizeof x.hi);
  return x;
}
