/* Modules of tests/ptx: each says in its first comments how it is launched and what must
 * come of it; tests/ptx/README.md has the words.
 *
 *   emu_ptx FOLDER          every *.ptx of it; fails if one is not as it says
 *   emu_ptx --wrong FOLDER  every one of it must not be as it says: the test can fail
 *   emu_ptx FILE.ptx ...    these
 *   emu_ptx --loads FILE…   one line a file: "loads" or the reason why not; nothing is run
 *
 *   emu_ptx --mutants FILE…  a line for each mutant, as it reads, and what it finds
 *
 * Each file runs in a child: another chip, other settings, and a crash is one failure.  So
 * does each of its mutants. */
#include "tests/unit/emu_kit.h"

#include "base/file.h"

#include <dirent.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_LINES = 16, MAX_FILES = 1000, LOG = 4000, MOST = 1 << 26 };

typedef struct Case {
  const char *path;
  char *text;
  char arch[16], set[200], ends[60], refused[200];
  unsigned grid[3], block[3], shared, bytes;
  bool iota, lax_as_all;
  int n_find[2], n_out;
  char find[2][MAX_LINES][200]; /* under all, under lax */
  char out[MAX_LINES][200];
  char due[200]; /* of a mutant */
} Case;

enum { ALL, LAX };

static int
wrong(const Case *c, const char *fmt, ...)
{
  va_list ap;
  va_start(ap, fmt);
  fprintf(stderr, "%s: ", c->path);
  vfprintf(stderr, fmt, ap);
  fputc('\n', stderr);
  va_end(ap);
  return 1;
}

/* ---- what a file says ---- */

static int
dims(const char *text, unsigned d[3])
{
  d[0] = d[1] = d[2] = 1;
  return sscanf(text, "%u,%u,%u", &d[0], &d[1], &d[2]) < 1;
}

static int
launch_word(Case *c, const char *word)
{
  if (!strncmp(word, "grid=", 5))
    return dims(word + 5, c->grid);
  if (!strncmp(word, "block=", 6))
    return dims(word + 6, c->block);
  if (sscanf(word, "shared=%u", &c->shared) == 1 ||
      sscanf(word, "bytes=%u", &c->bytes) == 1 || sscanf(word, "arch=%15s", c->arch) == 1)
    return 0;
  c->iota |= !strcmp(word, "iota");
  return strcmp(word, "iota") != 0;
}

static int
launch_words(Case *c, char *text)
{
  int bad = 0;
  char *state;
  for (char *w = strtok_r(text, " ", &state); w; w = strtok_r(NULL, " ", &state))
    bad |= launch_word(c, w) ? wrong(c, "'%s' is no word of launch:", w) : 0;
  return bad;
}

static int
keep(Case *c, char lines[][200], int *n, const char *text)
{
  if (*n == MAX_LINES || strlen(text) >= 200)
    return wrong(c, "too much of it: %s", text);
  strcpy(lines[(*n)++], text);
  return 0;
}

static int
finding(Case *c, int checks, const char *text)
{
  if (checks == LAX)
    c->lax_as_all = false;
  return strcmp(text, "nothing") ? keep(c, c->find[checks], &c->n_find[checks], text) : 0;
}

/* "KEY: value" behind the slashes; 0 where it is prose. */
static int
header_line(Case *c, char *line)
{
  char *v = strstr(line, ": ");
  if (!v || strchr(line, ' ') != v + 1)
    return 0;
  *v = 0;
  v += 2;
  if (!strcmp(line, "launch"))
    return launch_words(c, v);
  if (!strcmp(line, "all"))
    return finding(c, ALL, v);
  if (!strcmp(line, "lax"))
    return finding(c, LAX, v);
  if (!strcmp(line, "out"))
    return keep(c, c->out, &c->n_out, v);
  char *to = !strcmp(line, "ends")      ? c->ends
             : !strcmp(line, "refused") ? c->refused
             : !strcmp(line, "set")     ? c->set
                                        : NULL;
  if (!to || strlen(v) >= (to == c->ends ? sizeof c->ends : sizeof c->set))
    return wrong(c, "'%s:' is no key, or its value is too long", line);
  strcpy(to, v);
  return 0;
}

static int
read_case(Case *c, const char *path, bool text_alone)
{
  attnc_error error = {0};
  size_t n;
  *c = (Case){.path = path,
              .arch = "sm_80",
              .grid = {2, 1, 1},
              .block = {32, 1, 1},
              .bytes = 256,
              .lax_as_all = true};
  if (file_read(path, MOST, &c->text, &n, &error))
    return wrong(c, "%s", error.message);
  int bad = 0;
  for (const char *at = c->text; !text_alone && !strncmp(at, "//", 2);) {
    char line[300];
    size_t len = strcspn(at, "\n");
    snprintf(line, sizeof line, "%.*s", (int)(len > 2 ? len - 3 : 0), at + 3);
    bad |= header_line(c, line);
    at += len + (at[len] == '\n');
  }
  return bad;
}

/* ---- mutants: "STATEMENT //~ OTHER => what is found //~ OTHER => …" ---- */

#define MARK "//~"

static int
mutants_of(const char *text)
{
  int n = 0;
  for (const char *at = text; (at = strstr(at, MARK)); at += strlen(MARK))
    n++;
  return n;
}

/* The n-th mutant instead of the module: what is before the first mark of its line is
 * replaced.  line: what it was, and is, for messages. */
static int
mutate(Case *c, int n, char line[400])
{
  char *at = c->text;
  while ((at = strstr(at, MARK)) && n--)
    at += strlen(MARK);
  char *start = at, *text;
  while (start > c->text && start[-1] != '\n')
    start--;
  const char *arrow = strstr(at, " => "), *end = at + strcspn(at, "\n");
  const char *next = strstr(at + strlen(MARK), MARK);
  next = next && next < end ? next : end;
  if (!arrow || arrow > next)
    return wrong(c, "a mutant without ' => ': %.*s", (int)(end - start), start);
  const char *was = strstr(start, MARK), *is = at + strlen(MARK);
  snprintf(line, 400, "%.*s-> %.*s", (int)(was - start), start, (int)(arrow - is), is);
  snprintf(c->due, sizeof c->due, "%.*s", (int)(next - arrow - 4), arrow + 4);
  for (size_t k = strlen(c->due); k && c->due[k - 1] == ' ';)
    c->due[--k] = 0;
  if (asprintf(&text, "%.*s%.*s%s", (int)(start - c->text), c->text,
               (int)(arrow - at) - (int)strlen(MARK), at + strlen(MARK), end) < 0)
    return wrong(c, "no memory");
  free(c->text);
  c->text = text;
  return 0;
}

/* ---- what comes of it ---- */

/* The n-th line of the module, cut to what fits. */
static void
line_of(const Case *c, int n, char *line, size_t size)
{
  const char *at = c->text;
  while (--n > 0 && *at)
    at += strcspn(at, "\n") + 1;
  snprintf(line, size, "%.*s", (int)strcspn(at, "\n"), at);
}

/* "name" or "name at text of its line". */
static bool
is_due(const Case *c, const char *due, const char *found)
{
  int line;
  char name[60], text[400], want[60];
  const char *at = strstr(due, " at ");
  if (sscanf(found, "ptx:%d: error[%59[^]]]", &line, name) != 2)
    return false;
  snprintf(want, sizeof want, "%.*s", (int)(at ? (size_t)(at - due) : strlen(due)), due);
  line_of(c, line, text, sizeof text);
  return !strcmp(want, name) && (!at || strstr(text, at + 4));
}

static int
check_findings(const Case *c, int checks)
{
  int bad = 0, of = checks == LAX && c->lax_as_all ? ALL : checks;
  const char *mode = checks == LAX ? "lax" : "all";
  bool seen[MAX_LINES] = {false};
  char *state, text[65536];
  snprintf(text, sizeof text, "%s", kit_findings());
  for (char *l = strtok_r(text, "\n", &state); l; l = strtok_r(NULL, "\n", &state)) {
    bool due = false;
    for (int i = 0; i < c->n_find[of]; i++)
      if (is_due(c, c->find[of][i], l))
        due = seen[i] = true;
    bad |= due ? 0 : wrong(c, "checks=%s, nobody expects: %s", mode, l);
  }
  for (int i = 0; i < c->n_find[of]; i++)
    bad |= seen[i] ? 0 : wrong(c, "checks=%s, not found: %s", mode, c->find[of][i]);
  return bad;
}

typedef struct Element {
  const char *type;
  size_t bytes;
} Element;
static const Element elements[] = {{"u8", 1},  {"u16", 2}, {"u32", 4}, {"u64", 8},
                                   {"s32", 4}, {"s64", 8}, {"f32", 4}, {"f64", 8}};

/* One element against its text: floats bit by bit as strtod rounds them. */
static bool
is_value(const Element *e, const uint8_t *at, const char *text, char **end)
{
  uint64_t got = 0, want = 0;
  memcpy(&got, at, e->bytes);
  double d = strtod(text, end);
  float f = (float)d;
  if (!strcmp(e->type, "f32"))
    memcpy(&want, &f, 4);
  else if (!strcmp(e->type, "f64"))
    memcpy(&want, &d, 8);
  else
    want = *text == '-' ? (uint64_t)strtoll(text, end, 0) : strtoull(text, end, 0);
  return !memcmp(&got, &want, e->bytes);
}

/* "TYPE at OFFSET: v v v …" */
static int
check_out(const Case *c, const char *out, const uint8_t *buffer)
{
  char type[8];
  unsigned at;
  int used = 0;
  const Element *e = NULL;
  if (sscanf(out, "%7s at %u:%n", type, &at, &used) != 2 || !used)
    return wrong(c, "'out: %s' is not 'TYPE at BYTE: values'", out);
  for (size_t i = 0; i < sizeof elements / sizeof *elements; i++)
    if (!strcmp(elements[i].type, type))
      e = &elements[i];
  if (!e)
    return wrong(c, "'%s' is no type of out:", type);
  char *end;
  for (const char *v = out + used; *(v += strspn(v, " "));
       v = end, at += (unsigned)e->bytes) {
    if (at + e->bytes > c->bytes)
      return wrong(c, "out: byte %u is outside of the buffer", at);
    if (!is_value(e, buffer + at, v, &end) || end == v) {
      uint64_t got = 0;
      memcpy(&got, buffer + at, e->bytes);
      return wrong(c, "byte %u is 0x%llx, not %s", at, (unsigned long long)got, v);
    }
  }
  return 0;
}

static CUresult
launch_once(const Case *c, CUfunction f, uint8_t *buffer)
{
  CUdeviceptr p;
  memset(buffer, 0, c->bytes);
  for (uint32_t i = 0; c->iota && 4 * i + 4 <= c->bytes; i++)
    memcpy(buffer + 4 * i, &i, 4);
  OK(cuMemAlloc_v2(&p, c->bytes));
  OK(cuMemcpyHtoD_v2(p, buffer, c->bytes));
  CUresult r =
      cuLaunchKernel(f, c->grid[0], c->grid[1], c->grid[2], c->block[0], c->block[1],
                     c->block[2], c->shared, NULL, (void *[]){&p}, NULL);
  OK(cuMemcpyDtoH_v2(buffer, p, c->bytes));
  OK(cuMemFree_v2(p));
  return r;
}

static int
check_result(const Case *c, CUresult r)
{
  const char *name = NULL;
  cuGetErrorName(r, &name);
  if (strcmp(name ? name : "?", *c->ends ? c->ends : "CUDA_SUCCESS"))
    return wrong(c, "ends with %s: %s", name ? name : "?", kit_findings());
  return 0;
}

static int
launch_under(const Case *c, int checks, CUfunction f, uint8_t *buffer)
{
  int bad = 0;
  kit_set(checks == LAX ? "checks=lax" : "checks=all");
  bad |= check_result(c, launch_once(c, f, buffer));
  bad |= check_findings(c, checks);
  for (int i = 0; i < c->n_out; i++)
    bad |= check_out(c, c->out[i], buffer);
  return bad;
}

/* False: why says why not. */
static bool
start(const Case *c, char why[LOG])
{
  char set[300];
  CUcontext context;
  snprintf(set, sizeof set, "arch=%s,threads=1%s%s", c->arch, *c->set ? "," : "", c->set);
  if (attncEmuConfigure(set, why, LOG))
    return false;
  OK(cuInit(0));
  OK(cuDevicePrimaryCtxRetain(&context, 0));
  OK(cuCtxSetCurrent(context));
  return true;
}

/* Its finding must come, beside whatever else does. */
static int
run_mutant(Case *c, int n, bool tell)
{
  char line[400], log[LOG], text[65536], *state;
  CUmodule m;
  CUfunction f;
  bool seen = false;
  if (mutate(c, n, line))
    return 1;
  if (!start(c, log) || kit_load(c->text, &m, log, sizeof log))
    return wrong(c, "the mutant '%s' does not load: %s", line, log);
  OK(cuModuleGetFunction(&f, m, "k"));
  uint8_t *buffer = malloc(c->bytes + 1);
  kit_set("checks=all");
  launch_once(c, f, buffer);
  free(buffer);
  snprintf(text, sizeof text, "%s", kit_findings());
  for (char *l = strtok_r(text, "\n", &state); l; l = strtok_r(NULL, "\n", &state)) {
    seen |= is_due(c, c->due, l);
    if (tell && is_due(c, c->due, l))
      printf("%s: %s: %.*s\n", c->path, line, (int)strcspn(l, "("), l);
  }
  return seen ? 0 : wrong(c, "not found: %s", line);
}

static int
run_case(const Case *c)
{
  char log[LOG];
  CUmodule m;
  CUfunction f;
  if (!start(c, log))
    return wrong(c, "%s", log);
  CUresult r = kit_load(c->text, &m, log, sizeof log);
  if (*c->refused)
    return r && strstr(log, c->refused) ? 0 : wrong(c, "not so refused: %s", log);
  if (r)
    return wrong(c, "does not load: %s", log);
  OK(cuModuleGetFunction(&f, m, "k"));
  uint8_t *buffer = malloc(c->bytes + 1);
  int bad = launch_under(c, ALL, f, buffer) | launch_under(c, LAX, f, buffer);
  free(buffer);
  return bad;
}

/* The chip that its .target names: 'a' and 'f' are of the same one. */
static int
load_case(Case *c)
{
  char log[LOG];
  CUmodule m;
  const char *target = strstr(c->text, ".target sm_");
  if (target && sscanf(target, ".target %15[a-z0-9_]", c->arch) != 1)
    return wrong(c, "no .target");
  bool ok = start(c, log) && !kit_load(c->text, &m, log, sizeof log);
  log[strcspn(log, "\n")] = 0;
  printf("%s: %s\n", c->path, ok ? "loads" : log);
  return 0;
}

typedef enum Way { RUN, LOADS, MUTANT, TELL_MUTANT } Way;

static int
go(Case *c, Way way, int n)
{
  if (way == LOADS)
    return load_case(c);
  return way == RUN ? run_case(c) : run_mutant(c, n, way == TELL_MUTANT);
}

static int
in_child(const char *path, Way way, int n)
{
  int status;
  fflush(stdout);
  pid_t child = fork();
  if (!child) {
    static Case c;
    int bad = read_case(&c, path, way == LOADS);
    bad = bad ? bad : go(&c, way, n);
    fflush(stdout);
    _exit(bad);
  }
  if (child < 0 || waitpid(child, &status, 0) != child)
    return perror("fork"), 1;
  if (WIFSIGNALED(status))
    fprintf(stderr, "%s: signal %d\n", path, WTERMSIG(status));
  return status != 0;
}

static int
mutants(const char *path, Way way)
{
  attnc_error error = {0};
  char *text = NULL;
  size_t size;
  int bad = file_read(path, MOST, &text, &size, &error) != 0;
  for (int k = 0, n = bad ? 0 : mutants_of(text); k < n; k++)
    bad |= in_child(path, way, k);
  free(text);
  return bad;
}

/* And its mutants. */
static int
whole(const char *path)
{
  return in_child(path, RUN, 0) | mutants(path, MUTANT);
}

static int
by_name(const void *a, const void *b)
{
  return strcmp(*(char *const *)a, *(char *const *)b);
}

static int
run_folder(const char *folder, bool all_wrong)
{
  static char *path[MAX_FILES];
  int n = 0, bad = 0;
  DIR *d = opendir(folder);
  for (struct dirent *e; d && (e = readdir(d));) {
    size_t len = strlen(e->d_name);
    if (len < 5 || strcmp(e->d_name + len - 4, ".ptx"))
      continue;
    path[n] = malloc(strlen(folder) + len + 2);
    sprintf(path[n++], "%s/%s", folder, e->d_name);
    assert_true(n < MAX_FILES);
  }
  if (d)
    closedir(d);
  qsort(path, (size_t)n, sizeof *path, by_name);
  for (int i = 0; i < n; i++) {
    bad += whole(path[i]);
    free(path[i]);
  }
  printf("%d modules, %d of them not as they say\n", n, bad);
  return !n || bad != (all_wrong ? n : 0);
}

int
main(int argc, char **argv)
{
  int bad = 0;
  bool loads = argc > 1 && !strcmp(argv[1], "--loads");
  bool tells = argc > 1 && !strcmp(argv[1], "--mutants");
  bool wrong_ones = argc == 3 && !strcmp(argv[1], "--wrong");
  if (wrong_ones || (argc == 2 && !loads && !tells && !strstr(argv[1], ".ptx")))
    return run_folder(argv[argc - 1], wrong_ones);
  for (int i = 1 + (loads || tells); i < argc; i++)
    bad |= loads   ? in_child(argv[i], LOADS, 0)
           : tells ? mutants(argv[i], TELL_MUTANT)
                   : whole(argv[i]);
  return argc < 2 ? 2 : bad;
}
