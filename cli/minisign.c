#include "cli/minisign.h"

#include "base/err.h"

#ifndef ATTNC_SODIUM

attnc_status
minisign_check(const char *key, const char *signature, const void *bytes, size_t n,
               Arena *arena, const char **comment, attnc_error *e)
{
  (void)key, (void)signature, (void)bytes, (void)n, (void)arena;
  *comment = NULL;
  return err_set(e, ATTNC_ERR_UNSUPPORTED,
                 "signatures are not checked: attnc was built without libsodium; "
                 "minisign -V does it");
}

#else

#include "base/file.h"
#include "base/str.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum {
  MAX_TEXT = 1 << 16,
  ID = 8,
  KEY = 2 + ID + 32,
  SIGNATURE = 2 + ID + 64,
  GLOBAL = 64
};

/* The n-th line of a text from 0, without its end; NULL: there are fewer. */
static const char *
line_of(const char *text, int n, Arena *arena)
{
  for (; n > 0 && text; n--) {
    text = strchr(text, '\n');
    text = text ? text + 1 : NULL;
  }
  return text && *text ? arena_strndup(arena, text, strcspn(text, "\r\n")) : NULL;
}

static bool
decode(const char *line, unsigned char *out, size_t n)
{
  size_t got = 0;
  return line &&
         !sodium_base642bin(out, n, line, strlen(line), NULL, &got, NULL,
                            sodium_base64_VARIANT_ORIGINAL) &&
         got == n;
}

/* The key, or a file whose second line it is. */
static attnc_status
read_key(const char *key, Arena *arena, unsigned char out[KEY], attnc_error *e)
{
  char *text = NULL;
  size_t n;
  if (!decode(key, out, KEY)) {
    TRY(file_read(key, MAX_TEXT, &text, &n, e));
    bool good = decode(line_of(text, 1, arena), out, KEY);
    free(text);
    if (!good)
      return err_set(e, ATTNC_ERR_USAGE, "%.300s: not a public key of minisign", key);
  }
  if (memcmp(out, "Ed", 2) != 0)
    return err_set(e, ATTNC_ERR_USAGE, "%.300s: a key of another kind than Ed25519", key);
  return ATTNC_OK;
}

typedef struct Signature {
  unsigned char own[SIGNATURE], global[GLOBAL];
  const char *comment;
} Signature;

static attnc_status
read_signature(const char *path, Arena *arena, Signature *s, attnc_error *e)
{
  static const char word[] = "trusted comment: ";
  char *text;
  size_t n;
  TRY(file_read(path, MAX_TEXT, &text, &n, e));
  const char *comment = line_of(text, 2, arena);
  bool good = decode(line_of(text, 1, arena), s->own, SIGNATURE) && comment &&
              !strncmp(comment, word, strlen(word)) &&
              decode(line_of(text, 3, arena), s->global, GLOBAL);
  free(text);
  if (!good)
    return err_set(e, ATTNC_ERR_CHECK, "%.300s: not a signature of minisign", path);
  s->comment = comment + strlen(word);
  return ATTNC_OK;
}

/* "ED" signs the hash of the file, "Ed" the file. */
static bool
signs(const Signature *s, const unsigned char *public, const void *bytes, size_t n)
{
  unsigned char hash[64];
  if (!memcmp(s->own, "ED", 2)) {
    crypto_generichash(hash, sizeof hash, bytes, n, NULL, 0);
    bytes = hash;
    n = sizeof hash;
  } else if (memcmp(s->own, "Ed", 2) != 0) {
    return false;
  }
  return !crypto_sign_verify_detached(s->own + 2 + ID, bytes, n, public);
}

/* The comment is signed together with the signature. */
static bool
signs_comment(const Signature *s, const unsigned char *public, Arena *arena)
{
  size_t n = strlen(s->comment);
  unsigned char *text = NEW_N(arena, unsigned char, 64 + n);
  memcpy(text, s->own + 2 + ID, 64);
  memcpy(text + 64, s->comment, n);
  return !crypto_sign_verify_detached(s->global, text, 64 + n, public);
}

attnc_status
minisign_check(const char *key, const char *signature, const void *bytes, size_t n,
               Arena *arena, const char **comment, attnc_error *e)
{
  unsigned char public[KEY];
  Signature s;
  if (sodium_init() < 0)
    return err_set(e, ATTNC_ERR_INTERNAL, "sodium_init failed");
  TRY(read_key(key, arena, public, e));
  TRY(read_signature(signature, arena, &s, e));
  if (memcmp(s.own + 2, public + 2, ID) != 0)
    return err_set(e, ATTNC_ERR_CHECK, "%.300s: signed by another key", signature);
  if (!signs(&s, public + 2 + ID, bytes, n) || !signs_comment(&s, public + 2 + ID, arena))
    return err_set(e, ATTNC_ERR_CHECK, "%.300s: the signature is wrong", signature);
  *comment = s.comment;
  return ATTNC_OK;
}

#endif
