/* Video instructions: operands with a selector, %r1.h0, and vmad's with a sign. */
#include "emulator/ptx/decode.h"
#include "emulator/exec/steps.h"

#include <string.h>

static uint8_t
video_op(Dec *d)
{
  static const Mod compares[] = {M_EQ, M_NE, M_LT, M_LE, M_GT, M_GE};
  int op = d->form->arg;
  if (op == V_SHL_CLAMP || op == V_SHR_CLAMP)
    return (uint8_t)(op + mod_is(&d->m, M_WRAP));
  for (int i = 0; op == V_EQ && i < 6; i++)
    if (mod_is(&d->m, compares[i]))
      return (uint8_t)(V_EQ + i);
  return (uint8_t)op;
}

/* The types are those of d, a and b; a comparison is unsigned. */
static void
video_modifiers(Dec *d, VideoForm *f)
{
  bool set = d->form->arg == V_EQ;
  const uint8_t *t = d->m.t;
  f->op = video_op(d);
  f->flags |= !set && t[0] == T_S32 ? VIDEO_D_SIGNED : 0;
  f->flags |= t[set ? 0 : 1] == T_S32 ? VIDEO_A_SIGNED : 0;
  f->flags |= t[set ? 1 : 2] == T_S32 ? VIDEO_B_SIGNED : 0;
  f->flags |= mod_is(&d->m, M_SAT) ? VIDEO_SAT : 0;
  f->second = mod_is(&d->m, M_ADD)   ? SECOND_ADD
              : mod_is(&d->m, M_MIN) ? SECOND_MIN
              : mod_is(&d->m, M_MAX) ? SECOND_MAX
                                     : SECOND_NONE;
}

static Insn *
emit_video(Dec *d, const VideoForm *f)
{
  const Res *r = d->r;
  for (int k = 0; k < d->n_r; k++)
    if (r[k].o && (r[k].o->kind == O_SPECIAL || r[k].o->kind == O_SINK))
      dec_fail(d, "expected a register as operand");
  Insn *i = dec_step(d, step_video);
  i->d = r[0].row;
  i->a = r[1].row;
  i->b = r[2].row;
  i->c = r[3].row;
  i->video = *f;
  return i;
}

_Noreturn static void
wrong_selector(Dec *d, const Opnd *o)
{
  dec_fail(d, "'.%.*s' does not select here", o->n_select, o->select);
}

static uint8_t
part(Dec *d, const Opnd *o)
{
  static const char names[6][3] = {"b0", "b1", "b2", "b3", "h0", "h1"};
  if (!o->select)
    return PART_ALL;
  for (uint8_t i = 0; i < 6; i++)
    if (o->n_select == 2 && !memcmp(o->select, names[i], 2))
      return i;
  wrong_selector(d, o);
}

void
build_video(Dec *d)
{
  const Res *r = d->r;
  VideoForm f = {.elements = 1, .d = part(d, r[0].o)};
  f.a[0] = part(d, r[1].o);
  f.b[0] = part(d, r[2].o);
  video_modifiers(d, &f);
  if (f.d != PART_ALL && f.second)
    dec_fail(d, "with a second operation all of the destination is written");
  if ((f.d != PART_ALL || f.second) && !r[3].o)
    dec_fail(d, "too few operands");
  if (r[1].o->minus || r[2].o->minus || (r[3].o && (r[3].o->minus || r[3].o->select)))
    dec_fail(d, "a sign or selector is not allowed on this operand");
  emit_video(d, &f);
}

void
build_vmad(Dec *d)
{
  const Res *r = d->r;
  VideoForm f = {.elements = 1, .d = part(d, r[0].o)};
  bool minus = r[1].o->minus != r[2].o->minus, minus_c = r[3].o->minus;
  f.a[0] = part(d, r[1].o);
  f.b[0] = part(d, r[2].o);
  video_modifiers(d, &f);
  if (f.d != PART_ALL || r[3].o->select)
    dec_fail(d, "a selector is not allowed on this operand");
  if (minus && minus_c)
    dec_fail(d, "either the product or the third operand is negated");
  if ((minus || minus_c) && mod_is(&d->m, M_PO))
    dec_fail(d, ".po and a negated operand exclude each other");
  f.flags |= (uint8_t)((minus ? VIDEO_MINUS : 0) | (minus_c ? VIDEO_MINUS_C : 0) |
                       (mod_is(&d->m, M_PO) ? VIDEO_PLUS_ONE : 0));
  f.shift = mod_is(&d->m, M_SHR7) ? 7 : mod_is(&d->m, M_SHR15) ? 15 : 0;
  emit_video(d, &f);
}

/* .h10, .b7654: of b:a, the highest element first. */
static void
elements(Dec *d, const Opnd *o, const VideoForm *f, int first, uint8_t *to)
{
  char letter = f->elements == 2 ? 'h' : 'b';
  if (o->kind != O_REG)
    dec_fail(d, "expected a register as operand");
  if (o->minus)
    dec_fail(d, "a sign is not allowed on this operand");
  for (int i = 0; i < f->elements; i++)
    to[i] = (uint8_t)(first + i);
  if (!o->select)
    return;
  if (o->n_select != f->elements + 1 || o->select[0] != letter)
    wrong_selector(d, o);
  for (int i = 0; i < f->elements; i++) {
    int k = o->select[f->elements - i] - '0';
    if (k < 0 || k >= 2 * f->elements)
      wrong_selector(d, o);
    to[i] = (uint8_t)k;
  }
}

/* .h0, .b310: those elements, falling. */
static uint8_t
element_mask(Dec *d, const Opnd *o, const VideoForm *f)
{
  char letter = f->elements == 2 ? 'h' : 'b';
  unsigned mask = 0, all = (1u << f->elements) - 1;
  int last = f->elements;
  if (!o->select)
    return (uint8_t)all;
  if (o->n_select < 2 || o->select[0] != letter)
    wrong_selector(d, o);
  for (int i = 1; i < o->n_select; i++) {
    int k = o->select[i] - '0';
    if (k < 0 || k >= last)
      wrong_selector(d, o);
    mask |= 1u << k;
    last = k;
  }
  return (uint8_t)mask;
}

static void
build_several(Dec *d, uint8_t n)
{
  const Res *r = d->r;
  VideoForm f = {.elements = n};
  video_modifiers(d, &f);
  f.d = element_mask(d, r[0].o, &f);
  elements(d, r[1].o, &f, 0, f.a);
  elements(d, r[2].o, &f, n, f.b);
  if (r[3].o->kind != O_REG || r[3].o->select || r[3].o->minus)
    dec_fail(d, "expected a register as operand");
  emit_video(d, &f);
}

void
build_video2(Dec *d)
{
  build_several(d, 2);
}

void
build_video4(Dec *d)
{
  build_several(d, 4);
}
