#include "base/ptx.h"

#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
  int version, driver;
} versions[] = {
#define X(version, driver) {version, driver},
    PTX_VERSION_TABLE(X)
#undef X
};
enum { N_VERSIONS = sizeof versions / sizeof *versions };

int
ptx_driver(int version)
{
  for (int i = 0; i < N_VERSIONS; i++)
    if (versions[i].version == version)
      return versions[i].driver;
  return 0;
}

attnc_status
ptx_version_read(const char *text, int lowest, int *version, attnc_error *e)
{
  int major = 0, minor = 0, end = 0, last = versions[N_VERSIONS - 1].version;
  *version = lowest;
  if (!text)
    return ATTNC_OK;
  if (sscanf(text, "%1d.%1d%n", &major, &minor, &end) != 2 || text[end] || major < 1 ||
      minor < 0)
    return err_set(e, ATTNC_ERR_USAGE, "'%.20s' is no PTX version such as 8.0", text);
  *version = 10 * major + minor;
  if (*version < lowest || *version > last)
    return err_set(e, ATTNC_ERR_UNSUPPORTED,
                   "PTX %s: this kernel needs at least %d.%d, LLVM 22 writes up to %d.%d",
                   text, lowest / 10, lowest % 10, last / 10, last % 10);
  if (!ptx_driver(*version))
    return err_set(e, ATTNC_ERR_UNSUPPORTED, "there is no PTX %s", text);
  return ATTNC_OK;
}

/* ---- the mark ---- */

static const char *
skip_blanks(const char *p)
{
  while (*p == ' ' || *p == '\t' || *p == '\r')
    p++;
  return p;
}

static bool
is_hex(char c)
{
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

/* What follows the comment sign of a line; NULL: it is not a comment. */
static const char *
comment(const char *p)
{
  if (*p == ';')
    return skip_blanks(p + strspn(p, ";"));
  return p[0] == '/' && p[1] == '/' ? skip_blanks(p + strspn(p, "/")) : NULL;
}

static bool
read_mark(const char *p, char hash[PTX_MARK + 1], const char **how, size_t *how_n)
{
  static const char lead[] = "attnc mark ";
  if (strncmp(p, lead, sizeof lead - 1) != 0)
    return false;
  p += sizeof lead - 1;
  for (int i = 0; i < PTX_MARK; i++)
    if (!is_hex(p[i]))
      return false;
  if (p[PTX_MARK] && !strchr(" \r\n", p[PTX_MARK]))
    return false;
  memcpy(hash, p, PTX_MARK);
  hash[PTX_MARK] = 0;
  if (how) {
    *how = skip_blanks(p + PTX_MARK);
    *how_n = strcspn(*how, "\r\n");
  }
  return true;
}

bool
ptx_mark(const char *text, char hash[PTX_MARK + 1], const char **how, size_t *how_n)
{
  for (const char *p = skip_blanks(text); *p; p = skip_blanks(p)) {
    const char *c = comment(p);
    if (c && read_mark(c, hash, how, how_n))
      return true;
    if (!c && *p != '\n')
      return false;
    p += strcspn(p, "\n");
    p += *p == '\n';
  }
  return false;
}

attnc_status
ptx_check_mark(const PtxPair *pair, const char *hash, attnc_error *e)
{
  char own[PTX_MARK + 1];
  const char *how = "";
  size_t n = 0;
  if (!ptx_mark(pair->text, own, &how, &n))
    return err_set(e, pair->bad,
                   "%s: does not begin with the mark (// attnc mark ...) by which attnc "
                   "knows the recipe of a text: dump it again, and keep that line",
                   pair->what);
  if (strcmp(own, hash) == 0)
    return ATTNC_OK;
  return err_set(
      e, pair->bad,
      "%s: is not the text of this recipe: it was made with --schedule %.*s; if "
      "that is the schedule here too, then for other tensors, sizes or parameters",
      pair->what, n > 240 ? 240 : (int)n, how);
}

/* ---- entries ---- */

/* A word (letters, digits, _ $ % .) or one other character; n 0: the end. */
typedef struct Token {
  const char *at;
  size_t n;
} Token;

static bool
in_word(char c)
{
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         (c && strchr("_$%.", c));
}

/* Behind a comment or a string that begins here; else where it was. */
static const char *
skip_text(const char *p)
{
  const char *end;
  if (p[0] == '/' && p[1] == '/')
    return p + strcspn(p, "\n");
  if (p[0] == '/' && p[1] == '*')
    return (end = strstr(p + 2, "*/")) ? end + 2 : p + strlen(p);
  if (p[0] == '"')
    return (end = strchr(p + 1, '"')) ? end + 1 : p + strlen(p);
  return p;
}

static Token
next(const char **p)
{
  const char *at = *p, *on;
  for (;; at = on) {
    on = at + strspn(at, " \t\r\n");
    on = skip_text(on);
    if (on == at)
      break;
  }
  Token t = {at, 0};
  while (in_word(at[t.n]))
    t.n++;
  t.n += t.n == 0 && *at;
  *p = at + t.n;
  return t;
}

static bool
is(Token t, const char *text)
{
  return strlen(text) == t.n && memcmp(t.at, text, t.n) == 0;
}

int
ptx_text_version(const char *text)
{
  const char *p = text;
  int major, minor;
  for (Token t = next(&p); t.n; t = next(&p))
    if (is(t, ".version")) {
      t = next(&p);
      return t.n == 3 && sscanf(t.at, "%1d.%1d", &major, &minor) == 2 ? 10 * major + minor
                                                                      : 0;
    }
  return 0;
}

/* Bytes of ".u64", ".b8" …; 0: no such type. */
static unsigned
type_bytes(Token t)
{
  char *end;
  if (t.n < 3 || t.at[0] != '.' || !memchr("busf", t.at[1], 4))
    return 0;
  unsigned long bits = strtoul(t.at + 2, &end, 10);
  return end == t.at + t.n && bits <= 128 ? (unsigned)bits / 8 : 0;
}

/* The list behind the name of an entry: ".param .align 64 .b8 map[128], …)". */
static int
read_params(const char *p, unsigned *bytes, int most)
{
  int n = 0;
  unsigned size = 0;
  Token t = next(&p);
  if (!is(t, "("))
    return 0;
  for (t = next(&p); t.n && !is(t, ")"); t = next(&p)) {
    if (is(t, ".param")) {
      n++;
      size = 0;
    } else if (is(t, "[")) {
      size *= (unsigned)strtoul(p, NULL, 10);
    } else if (!size) {
      size = type_bytes(t);
    }
    if (n > 0 && n <= most)
      bytes[n - 1] = size;
  }
  return n;
}

int
ptx_params(const char *text, const char *entry, unsigned *bytes, int most)
{
  const char *p = text;
  for (Token t = next(&p); t.n; t = next(&p))
    if (is(t, ".entry")) {
      t = next(&p);
      if (is(t, entry))
        return read_params(p, bytes, most);
    }
  return -1;
}

attnc_status
ptx_check_entry(const PtxPair *pair, const char *entry, const unsigned *bytes, int n,
                attnc_error *e)
{
  enum { MOST = 128 };
  unsigned own[MOST];
  int n_own = ptx_params(pair->text, entry, own, MOST);
  if (n_own < 0)
    return err_set(e, pair->bad, "%s: has no entry %s", pair->what, entry);
  if (n_own != n)
    return err_set(e, pair->bad, "%s: entry %s has %d parameters, the recipe gives it %d",
                   pair->what, entry, n_own, n);
  for (int i = 0; i < n && i < MOST; i++)
    if (own[i] != bytes[i])
      return err_set(e, pair->bad,
                     "%s: parameter %d of entry %s has %u bytes, the recipe gives it %u",
                     pair->what, i, entry, own[i], bytes[i]);
  return ATTNC_OK;
}
