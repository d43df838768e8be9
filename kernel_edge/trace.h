/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The tracepoints, with the names, the fields and the text of fs/dlm's. Rust calls them: see
 * trace.rs. A name is that of a lock's resource.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM dlm_device

#if !defined(_DLM_DEVICE_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _DLM_DEVICE_TRACE_H

#include <linux/dlm.h>
#include <linux/tracepoint.h>

int dlm_device_trace_begin(void);
void dlm_device_trace_end(void);

#define show_mode(mode) __print_symbolic(mode,				\
	{ DLM_LOCK_IV, "IV"}, { DLM_LOCK_NL, "NL"},			\
	{ DLM_LOCK_CR, "CR"}, { DLM_LOCK_CW, "CW"},			\
	{ DLM_LOCK_PR, "PR"}, { DLM_LOCK_PW, "PW"},			\
	{ DLM_LOCK_EX, "EX"})

#define named(prefix, flag) { prefix##flag, #flag }

#define show_flags(flags) __print_flags(flags, "|",			\
	named(DLM_LKF_, NOQUEUE), named(DLM_LKF_, CANCEL),		\
	named(DLM_LKF_, CONVERT), named(DLM_LKF_, VALBLK),		\
	named(DLM_LKF_, QUECVT), named(DLM_LKF_, IVVALBLK),		\
	named(DLM_LKF_, CONVDEADLK), named(DLM_LKF_, PERSISTENT),	\
	named(DLM_LKF_, NODLCKWT), named(DLM_LKF_, NODLCKBLK),		\
	named(DLM_LKF_, EXPEDITE), named(DLM_LKF_, NOQUEUEBAST),	\
	named(DLM_LKF_, HEADQUE), named(DLM_LKF_, NOORDER),		\
	named(DLM_LKF_, ORPHAN), named(DLM_LKF_, ALTPR),		\
	named(DLM_LKF_, ALTCW), named(DLM_LKF_, FORCEUNLOCK),		\
	named(DLM_LKF_, TIMEOUT))

#define show_sb_flags(flags) __print_flags(flags, "|",			\
	named(DLM_SBF_, DEMOTED), named(DLM_SBF_, VALNOTVALID),		\
	named(DLM_SBF_, ALTMODE))

#define show_name() __print_hex_str(__get_dynamic_array(res_name),	\
				    __get_dynamic_array_len(res_name))

#define copy_name(name)							\
	memcpy(__get_dynamic_array(res_name), name,			\
	       __get_dynamic_array_len(res_name))

TRACE_EVENT_FN(dlm_lock_start,

	TP_PROTO(u32 ls_id, u32 lkb_id, const u8 *name, size_t length, int mode, u32 flags),

	TP_ARGS(ls_id, lkb_id, name, length, mode, flags),

	TP_STRUCT__entry(
		__field(__u32, ls_id)
		__field(__u32, lkb_id)
		__field(int, mode)
		__field(__u32, flags)
		__dynamic_array(unsigned char, res_name, length)
	),

	TP_fast_assign(
		__entry->ls_id = ls_id;
		__entry->lkb_id = lkb_id;
		__entry->mode = mode;
		__entry->flags = flags;
		copy_name(name);
	),

	TP_printk("ls_id=%u lkb_id=%x mode=%s flags=%s res_name=%s",
		  __entry->ls_id, __entry->lkb_id, show_mode(__entry->mode),
		  show_flags(__entry->flags), show_name()),

	dlm_device_trace_begin, dlm_device_trace_end
);

TRACE_EVENT_FN(dlm_lock_end,

	TP_PROTO(u32 ls_id, u32 lkb_id, const u8 *name, size_t length, int mode, u32 flags,
		 int error),

	TP_ARGS(ls_id, lkb_id, name, length, mode, flags, error),

	TP_STRUCT__entry(
		__field(__u32, ls_id)
		__field(__u32, lkb_id)
		__field(int, mode)
		__field(__u32, flags)
		__field(int, error)
		__dynamic_array(unsigned char, res_name, length)
	),

	TP_fast_assign(
		__entry->ls_id = ls_id;
		__entry->lkb_id = lkb_id;
		__entry->mode = mode;
		__entry->flags = flags;
		__entry->error = error;
		copy_name(name);
	),

	TP_printk("ls_id=%u lkb_id=%x mode=%s flags=%s error=%d res_name=%s",
		  __entry->ls_id, __entry->lkb_id, show_mode(__entry->mode),
		  show_flags(__entry->flags), __entry->error, show_name()),

	dlm_device_trace_begin, dlm_device_trace_end
);

TRACE_EVENT_FN(dlm_bast,

	TP_PROTO(u32 ls_id, u32 lkb_id, const u8 *name, size_t length, int mode),

	TP_ARGS(ls_id, lkb_id, name, length, mode),

	TP_STRUCT__entry(
		__field(__u32, ls_id)
		__field(__u32, lkb_id)
		__field(int, mode)
		__dynamic_array(unsigned char, res_name, length)
	),

	TP_fast_assign(
		__entry->ls_id = ls_id;
		__entry->lkb_id = lkb_id;
		__entry->mode = mode;
		copy_name(name);
	),

	TP_printk("ls_id=%u lkb_id=%x mode=%s res_name=%s", __entry->ls_id, __entry->lkb_id,
		  show_mode(__entry->mode), show_name()),

	dlm_device_trace_begin, dlm_device_trace_end
);

TRACE_EVENT_FN(dlm_ast,

	TP_PROTO(u32 ls_id, u32 lkb_id, const u8 *name, size_t length, u8 sb_flags, int sb_status),

	TP_ARGS(ls_id, lkb_id, name, length, sb_flags, sb_status),

	TP_STRUCT__entry(
		__field(__u32, ls_id)
		__field(__u32, lkb_id)
		__field(__u8, sb_flags)
		__field(int, sb_status)
		__dynamic_array(unsigned char, res_name, length)
	),

	TP_fast_assign(
		__entry->ls_id = ls_id;
		__entry->lkb_id = lkb_id;
		__entry->sb_flags = sb_flags;
		__entry->sb_status = sb_status;
		copy_name(name);
	),

	TP_printk("ls_id=%u lkb_id=%x sb_flags=%s sb_status=%d res_name=%s",
		  __entry->ls_id, __entry->lkb_id, show_sb_flags(__entry->sb_flags),
		  __entry->sb_status, show_name()),

	dlm_device_trace_begin, dlm_device_trace_end
);

TRACE_EVENT_FN(dlm_unlock_start,

	TP_PROTO(u32 ls_id, u32 lkb_id, const u8 *name, size_t length, u32 flags),

	TP_ARGS(ls_id, lkb_id, name, length, flags),

	TP_STRUCT__entry(
		__field(__u32, ls_id)
		__field(__u32, lkb_id)
		__field(__u32, flags)
		__dynamic_array(unsigned char, res_name, length)
	),

	TP_fast_assign(
		__entry->ls_id = ls_id;
		__entry->lkb_id = lkb_id;
		__entry->flags = flags;
		copy_name(name);
	),

	TP_printk("ls_id=%u lkb_id=%x flags=%s res_name=%s", __entry->ls_id, __entry->lkb_id,
		  show_flags(__entry->flags), show_name()),

	dlm_device_trace_begin, dlm_device_trace_end
);

TRACE_EVENT_FN(dlm_unlock_end,

	TP_PROTO(u32 ls_id, u32 lkb_id, const u8 *name, size_t length, u32 flags, int error),

	TP_ARGS(ls_id, lkb_id, name, length, flags, error),

	TP_STRUCT__entry(
		__field(__u32, ls_id)
		__field(__u32, lkb_id)
		__field(__u32, flags)
		__field(int, error)
		__dynamic_array(unsigned char, res_name, length)
	),

	TP_fast_assign(
		__entry->ls_id = ls_id;
		__entry->lkb_id = lkb_id;
		__entry->flags = flags;
		__entry->error = error;
		copy_name(name);
	),

	TP_printk("ls_id=%u lkb_id=%x flags=%s error=%d res_name=%s", __entry->ls_id,
		  __entry->lkb_id, show_flags(__entry->flags), __entry->error, show_name()),

	dlm_device_trace_begin, dlm_device_trace_end
);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
