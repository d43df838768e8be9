// SPDX-License-Identifier: GPL-2.0
/* The compatibility matrix, cell by cell: for requests, waiting requests and conversions. */
#include "dlm_test.h"

LOCKSPACE_FIXTURE(modes)

/* allows[m]: may m be granted while held is? */
FIXTURE_VARIANT(modes) { int held; const char *allows; };
FIXTURE_VARIANT_ADD(modes, NL) { NL, "111111" };
FIXTURE_VARIANT_ADD(modes, CR) { CR, "111110" };
FIXTURE_VARIANT_ADD(modes, CW) { CW, "111000" };
FIXTURE_VARIANT_ADD(modes, PR) { PR, "110100" };
FIXTURE_VARIANT_ADD(modes, PW) { PW, "110000" };
FIXTURE_VARIANT_ADD(modes, EX) { EX, "100000" };

TEST_F(modes, request)
{
	for (int mode = NL; mode <= EX; mode++) {
		const char *name = mode_name[mode];
		int id;

		HOLD(self->fd, variant->held, 0, name);
		id = lock(self->fd, mode, DLM_LKF_NOQUEUE, name);
		EXPECT_HEAR(self->fd, id, variant->allows[mode] == '1' ? "granted" : "EAGAIN")
			TH_LOG("%s requested, %s held", name, mode_name[variant->held]);
	}
}

TEST_F(modes, waiting_request)
{
	for (int mode = NL; mode <= EX; mode++) {
		const char *name = mode_name[mode];
		bool allowed = variant->allows[mode] == '1';
		int held = HOLD(self->fd, variant->held, 0, name);
		int id = LOCK(self->fd, mode, 0, name, allowed ? "granted" : "nothing");

		UNLOCK(self->fd, held);
		EXPECT_HEAR(self->fd, id, allowed ? "nothing" : "granted")
			TH_LOG("%s waited for %s", name, mode_name[variant->held]);
	}
}

TEST_F(modes, conversion)
{
	for (int mode = NL; mode <= EX; mode++) {
		const char *name = mode_name[mode];
		int id;

		HOLD(self->fd, variant->held, 0, name);
		id = HOLD(self->fd, NL, 0, name);
		ASSERT_EQ(0, convert(self->fd, id, mode, DLM_LKF_NOQUEUE));
		EXPECT_HEAR(self->fd, id, variant->allows[mode] == '1' ? "granted" : "EAGAIN")
			TH_LOG("NL to %s, %s held", name, mode_name[variant->held]);
	}
}

TEST_HARNESS_MAIN
