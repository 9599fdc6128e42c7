#include "runtime/bundle_files.h"

#include "base/err.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_MANIFEST = 16 << 20, MAX_FILE = 256 << 20, MAX_PATH = 4096 };

static attnc_status
file_path(const BundleFiles *b, const char *name, char path[MAX_PATH], attnc_error *e)
{
  int n = snprintf(path, MAX_PATH, "%s/%s", b->name, name);
  if (n < 0 || n >= MAX_PATH)
    return err_set(e, ATTNC_ERR_IO, "%s: the path is too long", b->name);
  return ATTNC_OK;
}

static attnc_status
check_hash(const BundleFiles *b, const PackFile *f, const char *bytes, size_t n,
           attnc_error *e)
{
  char hash[65];
  sha256_hex(bytes, n, hash);
  if (!strcmp(hash, f->hash))
    return ATTNC_OK;
  return err_set(e, ATTNC_ERR_IO, "%s/%s: is not the file that MANIFEST.sha256 lists",
                 b->name, f->name);
}

attnc_status
bundle_files_read(const BundleFiles *b, const PackFile *f, BundleText *out, attnc_error *e)
{
  char path[MAX_PATH];
  *out = (BundleText){.bytes = f->data, .n = f->n};
  if (!b->pack) {
    TRY(file_path(b, f->name, path, e));
    TRY(file_read(path, MAX_FILE, &out->own, &out->n, e));
    out->bytes = out->own;
  }
  attnc_status status = check_hash(b, f, out->bytes, out->n, e);
  if (status != ATTNC_OK)
    bundle_text_free(out);
  return status;
}

void
bundle_text_free(BundleText *t)
{
  free(t->own);
  *t = (BundleText){0};
}

/* ---- opening ---- */

static attnc_status
open_directory(BundleFiles *b, attnc_error *e)
{
  char path[MAX_PATH], *text;
  size_t n;
  BundleText file;
  TRY(file_path(b, "MANIFEST.sha256", path, e));
  TRY(file_read(path, MAX_MANIFEST, &text, &n, e));
  attnc_status status = pack_list(text, n, path, b->arena, &b->files, e);
  free(text);
  for (int i = 0; status == ATTNC_OK && i < b->files.n; i++) {
    status = bundle_files_read(b, &b->files.at[i], &file, e);
    bundle_text_free(&file);
  }
  return status;
}

attnc_status
bundle_files_view(BundleFiles *b, Arena *arena, const void *pack, size_t n, attnc_error *e)
{
  *b = (BundleFiles){.arena = arena, .name = "the pack in memory", .pack = true};
  return pack_read(pack, n, b->name, arena, &b->files, e);
}

attnc_status
bundle_files_open(BundleFiles *b, Arena *arena, const char *path, attnc_error *e)
{
  struct stat st;
  size_t n;
  *b = (BundleFiles){.arena = arena, .name = arena_strdup(arena, path)};
  if (!b->name)
    return err_set(e, ATTNC_ERR_NOMEM, "%s: out of memory", path);
  if (stat(path, &st) || S_ISDIR(st.st_mode))
    return open_directory(b, e);
  b->pack = true;
  TRY(file_read(path, PACK_MOST, &b->own, &n, e));
  return pack_read(b->own, n, b->name, arena, &b->files, e);
}

void
bundle_files_close(BundleFiles *b)
{
  free(b->own);
}

const PackFile *
bundle_files_beside(const BundleFiles *b, const PackFile *other, const char *end)
{
  size_t stem = strlen(other->name) - strlen(".json");
  for (int i = 0; i < b->files.n; i++) {
    const char *name = b->files.at[i].name;
    if (!strncmp(name, other->name, stem) && str_eq(name + stem, end))
      return &b->files.at[i];
  }
  return NULL;
}
