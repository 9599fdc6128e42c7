/* What is refused, with the line and the reason; what is accepted. */
#include "tests/unit/emu_kit.h"

#include <unistd.h>

typedef struct Bad {
  const char *text;   /* from the line after the registers on */
  const char *reason; /* how the log goes on after "ptx:LINE: error: " */
  int line;           /* from that line on, 1 */
} Bad;

/* One register line, so that the body starts at line 5. */
#define OPEN                                                                               \
  KIT_HEAD("7.0", "sm_80")                                                                 \
  ".entry k(.param .u64 p) { .reg .pred %p<4>; .reg .b16 %h<4>; .reg .b32 %r<9>; "         \
  ".reg .b64 %rd<9>; .reg .f32 %f<9>; .reg .s32 %s; .shared .b8 sm[64];\n"
#define BODY(text) OPEN text "\n}\n"

static const Bad bodies[] = {
    {"foo.s32 %r1, %r2;", "the instruction foo is not known", 1},
    {"ret;\n  add.foo.s32 %r1, %r2, %r3;", "add: no modifier .foo is known", 2},
    {"add.ftz.s32 %r1, %r2, %r3;", "add has no form with .s32 in this place", 1},
    {"add %r1, %r2, %r3;", "add needs more modifiers", 1},
    {"add.s32 %r1, %r2;", "too few operands", 1},
    {"add.s32 %r1, %r2, %r3, %r4;", "too many operands", 1},
    {"add.s32 %r1, %r2, %rd3;", "%rd3 is .b64, the instruction needs .s32 here", 1},
    {"add.f32 %f1, %f2, %s;", "%s is .s32, the instruction needs .f32 here", 1},
    {"add.s32 %f1, %r2, %r3;", "%f1 is .f32, the instruction needs .s32 here", 1},
    {"add.s32 %r1, %r2, %r9;", "%r9 is not declared", 1},
    {"add.s32 %r1, %r2, x;", "x is not declared", 1},
    {"add.s32 5, %r2, %r3;", "expected a register as destination", 1},
    {"add.s32 %r1, %p1, %r3;", "%p1 is .pred, the instruction needs .s32 here", 1},
    {"add.s32 %r1, !%r2, %r3;", "'!' is not allowed on this operand", 1},
    {"add.s32 %r1|%p1, %r2, %r3;", "'|' is not allowed behind this operand", 1},
    {"add.s32 %r1, %r2, 0x100000000;", "the number does not fit .s32", 1},
    {"add.s32 %r1, %r2, 0f3f800000;", "the number is not of type .s32", 1},
    {"add.f32 %f1, %f2, 1;", "the number is not of type .f32", 1},
    {"add.s32 %r1, %r2, %clock;", "%clock is only read by mov", 1},
    {"@%r1 ret;", "'%r1' where a predicate register is expected", 1},
    {"@%p1 %r1;", "the instruction %r1 is not known", 1},
    {"bra NOWHERE;", "the label NOWHERE is not there", 1},
    {"L:\nret;\nL:\nret;", "a second label L", 3},
    {"{ L: ret; }\nbra L;", "the label L is not there", 2},
    {"brx.idx %r1, list;", "the list of branch targets list is not there", 1},
    {"mov.u32 %r1, 1/0;", "a division by zero", 1},
    {"mov.u32 %r1, 5 % (3-3);", "a division by zero", 1},
    {"mov.f32 %f1, ~1.0;", "';' where an integer is expected", 1},
    {"mov.u32 %r1, (1+2;", "';' where ')' is expected", 1},
    {"mov.u32 %r1, 1 ? 2;", "';' where ':' is expected", 1},
    {"mov.u32 %r1, 1+;", "';' where a number is expected", 1},
    {"ld.global.u32 %r1, [%rd1+1.5];", "']' where an integer is expected", 1},
    {"call foo;", "expected a function or a register with its address as operand", 1},
    {"call (%r1), sm, (%r2);",
     "expected a function or a register with its address as operand", 1},
    {"call %rd1, (%r2);", "expected a prototype or list of functions as operand", 1},
    {"call %rd1, (%r2), l;", "the prototype or list of functions l is not there", 1},
    {"l: .calltargets g; call %rd1, (%r2), l;", "g is no function", 1},
    {"l: .callprototype _ (.param .b64 _); call %rd1, (%r2), l;",
     "%r2 is .b32, the instruction needs .b64 here", 1},
    {"l: .callprototype _ (); call %rd1, (%r2), l;",
     "the function has 0 parameters, the call 1", 1},
    {"ld.global.u32 %r1, [%r2];", "a global or generic address needs a register of 64 bits",
     1},
    {"ld.global.u32 %h1, [%rd2];", "%h1 is .b16, the instruction needs .u32 here", 1},
    {"ld.global.v2.u32 %r1, [%rd2];", "expected a vector of 2 registers as operand", 1},
    {"ld.global.v2.u32 {%r1, %r2, %r3}, [%rd2];",
     "expected a vector of 2 registers as operand", 1},
    {"ld.global.v4.u64 {%rd1, %rd2, %rd3, %rd4}, [%rd5];", "more than 16 bytes a thread",
     1},
    {"ld.global.u32 %r1, %rd2;", "expected an address in [ ] as operand", 1},
    {"ld.global.u32 %r1, [sm];", "sm is in another state space", 1},
    {"ld.u32 %r1, [sm];", "the instruction needs the state space of sm", 1},
    {"ld.global.u32 %r1, [%f1];", "%f1 cannot be an address", 1},
    {"ld.global.L2::cache_hint.u32 %r1, [%rd2];",
     ".L2::cache_hint needs .version 7.4 or higher, the module has 7.0", 1},
    {"st.param.u32 [p], %r1;", "only parameters and results of functions are written", 1},
    {"cp.async.cg.shared.global [%r1], [%rd2], 8;", "cp.async.cg copies 16 bytes", 1},
    {"cp.async.ca.shared.global [%r1], [%rd2], 12;", "cp.async.ca copies 4, 8 or 16 bytes",
     1},
    {"ex2.approx.ftz.bf16x2 %r1, %r2;",
     "ex2.approx.ftz.bf16x2 needs .target sm_90 or higher, the module has sm_80", 1},
    {"mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f1,%f2,%f3,%f4}, "
     "{%r1,%r2,%r3}, {%r1,%r2}, {%f1,%f2,%f3,%f4};",
     "expected a vector of 4 registers as operand", 1},
    {"mov.b32 %r1, {%h1, %h2, %h3};", "3 elements do not make 32 bits", 1},
    {"lop3.b32 %r1, %r2, %r3, %r4, 256;", "256 is more than 255", 1},
    {"cvt.sat.s32.s16 %r1, %h1;", ".sat does nothing here", 1},
    {".reg .tf32 x;", "registers cannot be .tf32", 1},
    {".foo;", "'.foo' where an instruction is expected", 1},
    {"add.s32 %r1, %r2, %r3", "'}' where ';' is expected", 2},
    {"mov.u32 %r1, 0xg;", "a number without digits", 1},
    {"mov.u32 %r1, 99999999999999999999;", "a number of more than 64 bits", 1},
    {"mov.u32 %r1, 12ab;", "'a' inside a number", 1},
    {"mov.f32 %f1, 0f3f8;", "0f needs 8 hexadecimal digits, 0d 16", 1},
    {"/* no end", "the comment has no end", 1},
    {".shared .b8 big[300000];", "k has too many bytes of .shared or .local", 0},
    {".shared .u32 x = 1;", "only .global and .const may have initial values", 1},
    {"{ ret;", "the body of k has no '}'", 0},
};

typedef struct Module {
  const char *text;
  CUresult result;
  const char *log;
} Module;

#define EMPTY ".entry k() { ret; }\n"

static const Module modules[] = {
    {"", CUDA_ERROR_INVALID_IMAGE, ""},
    {"\177ELF", CUDA_ERROR_NO_BINARY_FOR_GPU, ""},
    {".target sm_80\n", CUDA_ERROR_INVALID_PTX,
     "ptx:1: error: '.target' where '.version' is expected"},
    {KIT_HEAD("9.5", "sm_80") EMPTY, CUDA_ERROR_UNSUPPORTED_PTX_VERSION,
     "ptx:1: error: .version 9.5 is newer than 9.4"},
    {KIT_HEAD("9.0", "sm_86") EMPTY, CUDA_ERROR_NO_BINARY_FOR_GPU,
     "ptx:1: error: .target sm_86 does not run on the emulated sm_80"},
    {KIT_HEAD("9.0", "sm_90a") EMPTY, CUDA_ERROR_NO_BINARY_FOR_GPU,
     "ptx:1: error: .target sm_90a does not run on the emulated sm_80"},
    {KIT_HEAD("6.5", "sm_80") EMPTY, CUDA_ERROR_INVALID_PTX,
     "ptx:1: error: .version 6.5 has no target sm_80"},
    {KIT_HEAD("7.0", "sm_81") EMPTY, CUDA_ERROR_INVALID_PTX,
     "ptx:1: error: .version 7.0 has no target sm_81"},
    {KIT_HEAD("7.0", "gfx90") EMPTY, CUDA_ERROR_INVALID_PTX,
     "ptx:2: error: 'gfx90' where a target such as sm_80 is expected"},
    {".version 7.0\n.target sm_80\n.address_size 32\n", CUDA_ERROR_INVALID_PTX,
     "ptx:4: error: only addresses of 64 bits are emulated"},
    {KIT_HEAD("7.0", "sm_80") ".func f() { ret; }\n.func f() { ret; }",
     CUDA_ERROR_INVALID_PTX, "ptx:5: error: a second function f"},
    {KIT_HEAD("7.0", "sm_80") ".func f() {\n foo;\n}", CUDA_ERROR_INVALID_PTX,
     "ptx:5: error: the instruction foo is not known"},
    {KIT_HEAD("7.0", "sm_80") ".func f() { call f, ((1)); }", CUDA_ERROR_INVALID_PTX,
     "ptx:4: error: '(' where an argument is expected"},
    {KIT_HEAD("7.0", "sm_80") ".global .f32 f = 2;", CUDA_ERROR_INVALID_PTX,
     "ptx:4: error: an integer cannot initialise .f32"},
    {KIT_HEAD("7.0", "sm_80") ".global .u32 x; .global .u8 y = 0xff0(x);",
     CUDA_ERROR_INVALID_PTX, "ptx:4: error: the mask of an address is one byte of it"},
    {KIT_HEAD("7.0", "sm_80") ".global .u32 x; .global .u32 y = 0xff(x);",
     CUDA_ERROR_INVALID_PTX, "ptx:4: error: a mask needs an element of 8 bits"},
    {KIT_HEAD("7.0", "sm_80") ".func f(.param .b8 a[]);", CUDA_ERROR_INVALID_PTX,
     "ptx:4: error: parameters of any size are not emulated"},
    {KIT_HEAD("7.0", "sm_80") ".func f();\n.alias f, g;", CUDA_ERROR_INVALID_PTX,
     "ptx:5: error: g is no function"},
    {KIT_HEAD("7.0", "sm_80") ".func f() { ret; }\n.func g() { ret; }\n.alias f, g;",
     CUDA_ERROR_INVALID_PTX, "ptx:6: error: f cannot be another name of g"},
    {KIT_HEAD("7.0", "sm_80") ".extern .func f();\n.entry k() { call f; }",
     CUDA_ERROR_INVALID_PTX, "ptx:5: error: f is in another module: there is no linker"},
    {KIT_HEAD("7.0",
              "sm_80") ".extern .func free(.param .b64 p);\n.entry k() { call free, (5); }",
     CUDA_ERROR_INVALID_PTX, "ptx:5: error: free on the device is not emulated"},
    {KIT_HEAD("7.0", "sm_80") ".extern .func vprintf(.param .b64 p);\n.entry k() { call "
                              "vprintf, (5); }",
     CUDA_ERROR_INVALID_PTX, "ptx:5: error: vprintf has other parameters on the device"},
    {KIT_HEAD("7.0", "sm_80") EMPTY EMPTY, CUDA_ERROR_INVALID_PTX,
     "ptx:5: error: a second entry k"},
    {KIT_HEAD("7.0", "sm_80") ".extern .global .u32 x;", CUDA_ERROR_INVALID_PTX,
     "ptx:4: error: x is in another module: there is no linker"},
    {KIT_HEAD("7.0", "sm_80") ".global .u32 x[2] = {1, 2, 3};", CUDA_ERROR_INVALID_PTX,
     "ptx:4: error: more initial values than x has room for"},
    {KIT_HEAD("7.0", "sm_80") ".global .u64 x = y;", CUDA_ERROR_INVALID_PTX,
     "ptx:4: error: y is no variable in global memory"},
    {KIT_HEAD("7.0", "sm_80") ".global .align 3 .u64 x;", CUDA_ERROR_INVALID_PTX,
     "ptx:4: error: .align needs a power of two"},
    {KIT_HEAD("7.8", "sm_80") ".entry k() .reqnctapercluster 2, 1, 1 { ret; }",
     CUDA_ERROR_INVALID_PTX, "ptx:4: error: clusters need .target sm_90"},
    {KIT_HEAD("7.0", "sm_80") ".entry k();", CUDA_ERROR_INVALID_PTX,
     "ptx:4: error: entry k has no body"},
};

static void
bad_bodies(void **state)
{
  char log[1000], want[300], text[3000];
  (void)state;
  for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
    const Bad *b = &bodies[i];
    CUmodule m = NULL;
    snprintf(text, sizeof text, "%s%s\n}\n", OPEN, b->text);
    snprintf(want, sizeof want, "ptx:%d: error: %s", b->line + 4, b->reason);
    CUresult r = kit_load(text, &m, log, sizeof log);
    if (r != CUDA_ERROR_INVALID_PTX || strncmp(log, want, strlen(want)))
      fail_msg("%s\ngives %d, %s", b->text, r, log);
  }
}

static void
bad_modules(void **state)
{
  char log[1000];
  (void)state;
  for (size_t i = 0; i < sizeof modules / sizeof *modules; i++) {
    const Module *t = &modules[i];
    CUmodule m = NULL;
    CUresult r = kit_load(t->text, &m, log, sizeof log);
    if (r != t->result || strncmp(log, t->log, strlen(t->log)))
      fail_msg("%s\ngives %d, %s", t->text, r, log);
  }
}

/* The log shows the line itself, and is cut where the buffer ends. */
static void
log_text(void **state)
{
  char log[200];
  CUmodule m;
  (void)state;
  kit_load(BODY("  frob.b32 %r1, %r2;  // no"), &m, log, sizeof log);
  assert_string_equal(log, "ptx:5: error: the instruction frob is not known\n"
                           "    frob.b32 %r1, %r2;  // no\n");
  kit_load(BODY("frob.b32 %r1, %r2;"), &m, log, 10);
  assert_string_equal(log, "ptx:5: er");
}

/* Syntax that compilers print around instructions. */
static const char accepted[] =
    "//\n// Generated by a compiler\n//\n\n"
    ".version 7.8\n.target sm_80, debug\n.address_size 64\n"
    "\t.file\t1 \"k.cu\"\n"
    ".extern .shared .align 16 .b8 dyn[];\n"
    ".visible .global .align 4 .b8 tab[8] = {1, 2, 3, 4, 0xff};\n"
    ".global .align 8 .u64 ptr[2] = {tab, generic(tab)+4};\n"
    ".const .f32 half = 0f3F000000;\n"
    ".global .f32 list[2][2] = {{1.0, -2.5}, {0f40000000, 3e2}};\n"
    ".visible .entry k(\n\t.param .u64 .ptr .global .align 16 k_param_0,\n"
    "\t.param .align 8 .b8 k_param_1[12]\n)\n"
    ".maxntid 128, 1, 1\n.minnctapersm 2\n.pragma \"nounroll\";\n"
    "{\n\t.reg .pred \t%p<3>;\n\t.reg .b32 %r<4>, %q;\n\t.reg .f32 f;\n"
    "\t.reg .b64 \t%rd<5>;\n\t.local .align 8 .b8 \t__local_depot0[16];\n"
    "\t.reg .b64 %SP; .reg .b64 %SPL;\n"
    "\t.loc\t1 3 5\n"
    "$L__func_begin0:\n"
    "\tmov.u64 %SPL, __local_depot0; cvta.local.u64 %SP, %SPL;\n"
    "\tld.param.u64 %rd1, [k_param_0];\n"
    "\tld.param.v2.u32 {%r1, %q}, [k_param_1];\n"
    "\t{ .reg .b32 tmp; mov.u32 tmp, 7; add.s32 %r1, %r1, tmp; /* two\n lines */ }\n"
    "\t{ .reg .b64 tmp; mov.u64 tmp, tab+4; ld.global.nc.u8 %r2, [tmp+-4]; }\n"
    "\tst.local.u32 [__local_depot0+4], %r2;\n"
    "\tld.u32 %r3, [%SP+4];\n"
    "\tmov.u64 %rd2, half; ld.const.f32 f, [half];\n"
    "\tsetp.eq.s32 %p1, %r3, 1;\n"
    "\t@!%p1 bra $L__end;\n\tbra.uni $L__end;\n"
    "$L__end:\n\tret;\n$L__func_end0:\n}\n"
    ".section .debug_str\n{\n.b8 102, 111\n}\n";

static void
good_module(void **state)
{
  CUmodule m;
  (void)state;
  kit_function(accepted, &m);
  OK(cuModuleUnload(m));
}

/* Labels are found by their names, not by looking at all: this many took minutes. */
static void
many_labels(void **state)
{
  enum { LABELS = 300000, BYTES = 64 };
  CUmodule m;
  char *text = malloc(sizeof OPEN + (size_t)LABELS * BYTES), *p = text;
  (void)state;
  assert_non_null(text);
  p += sprintf(p, "%s", OPEN);
  for (int i = 0; i < LABELS; i++)
    p += sprintf(p, i % 16 ? "L%d:\n" : "L%d: @%%p1 bra L%d;\n", i, LABELS - 1 - i);
  sprintf(p, "ret;\n}\n");
  alarm(120);
  kit_function(text, &m);
  alarm(0);
  OK(cuModuleUnload(m));
  free(text);
}

/* Text cut anywhere is refused or loads; it does not crash, and says a line. */
static void
cut_anywhere(void **state)
{
  char text[sizeof accepted], log[600];
  (void)state;
  for (size_t n = 0; n < sizeof accepted - 1; n++) {
    CUmodule m;
    memcpy(text, accepted, n);
    text[n] = 0;
    CUresult r = kit_load(text, &m, log, sizeof log);
    if (!r)
      OK(cuModuleUnload(m));
    else if (r != CUDA_ERROR_INVALID_IMAGE && strncmp(log, "ptx:", 4))
      fail_msg("%zu bytes: %d %s", n, r, log);
  }
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(bad_bodies),   cmocka_unit_test(bad_modules),
      cmocka_unit_test(log_text),     cmocka_unit_test(good_module),
      cmocka_unit_test(cut_anywhere), cmocka_unit_test(many_labels),
  };
  kit_start("arch=sm_80");
  return cmocka_run_group_tests(tests, NULL, NULL);
}
