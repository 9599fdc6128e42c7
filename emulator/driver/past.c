#include "emulator/driver/past.h"

enum { WORDS = SHADOW_LAUNCHES / 64 };

ShadowSet
set_at(const ShadowSet *s, uint64_t epoch)
{
  return s->epoch == epoch ? *s : (ShadowSet){.epoch = epoch};
}

void
set_join(ShadowSet *to, const ShadowSet *from)
{
  if (from->epoch > to->epoch)
    *to = *from;
  for (int i = 0; from->epoch == to->epoch && i < WORDS; i++)
    to->bits[i] |= from->bits[i];
}

void
set_add(ShadowSet *s, uint64_t number)
{
  *s = set_at(s, number / SHADOW_LAUNCHES);
  s->bits[number % SHADOW_LAUNCHES / 64] |= (uint64_t)1 << number % 64;
}

void
past_join(Past *p, const Past *done, bool programmatic)
{
  set_join(&p->start, programmatic ? &done->start : &done->all);
  set_join(&p->wait, programmatic ? &done->wait : &done->all);
  set_join(&p->all, &done->all);
}

/* A kernel that ends without a wait says nothing of what is ahead of it; one that waits
 * before it triggers lets those behind it know. */
Past
past_done(const Past *ahead, uint64_t number, bool waited, bool early)
{
  Past p = {waited && !early ? ahead->wait : ahead->start,
            waited ? ahead->wait : ahead->start, ahead->all};
  set_add(&p.wait, number);
  set_add(&p.all, number);
  return p;
}

static bool
left(const ShadowSet *known, uint64_t epoch, const ShadowSet *issued, const ShadowSet *over,
     ShadowSet *late)
{
  ShadowSet k = set_at(known, epoch), o = set_at(over, epoch);
  uint64_t any = 0;
  *late = set_at(issued, epoch);
  for (int i = 0; i < WORDS; i++)
    any |= late->bits[i] &= ~(k.bits[i] | o.bits[i]);
  return any;
}

bool
past_late(const Past *ahead, uint64_t number, const ShadowSet *issued,
          const ShadowSet *over, ShadowSet late[2])
{
  uint64_t epoch = number / SHADOW_LAUNCHES;
  bool at_start = left(&ahead->start, epoch, issued, over, &late[0]);
  bool behind = left(&ahead->wait, epoch, issued, over, &late[1]);
  return at_start || behind;
}
