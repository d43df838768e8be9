// SPDX-License-Identifier: GPL-2.0

//! Errors are numbers, as in the kernel.

/// An error number, negative.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Error(i32);

pub type Result<T = (), E = Error> = core::result::Result<T, E>;

impl Error {
    pub const fn to_errno(self) -> i32 {
        self.0
    }
}

impl core::fmt::Debug for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match code::name(*self) {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", -self.0),
        }
    }
}

impl From<crate::alloc::AllocError> for Error {
    fn from(_: crate::alloc::AllocError) -> Self {
        code::ENOMEM
    }
}

/// The error codes, as constants.
pub mod code {
    use super::Error;

    macro_rules! codes {
        ($($name:ident = $number:literal),+ $(,)?) => {
            $(pub const $name: Error = Error(-$number);)+

            pub(crate) fn name(error: Error) -> Option<&'static str> {
                match -error.0 {
                    $($number => Some(stringify!($name)),)+
                    _ => None,
                }
            }
        };
    }

    codes! {
        EPERM = 1,
        ENOENT = 2,
        EAGAIN = 11,
        ENOMEM = 12,
        EBUSY = 16,
        EEXIST = 17,
        ENODEV = 19,
        EINVAL = 22,
        EDEADLK = 35,
        EBADE = 52,
    }
}
