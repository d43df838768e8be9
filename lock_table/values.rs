// SPDX-License-Identifier: GPL-2.0

//! Value blocks: between a lock's buffer and its resource.

use super::{
    lock::Lock,
    resource::Resource,
    LockTable, //
};
use crate::{
    engine::Owner,
    storage::slab::{
        Slab,
        NONE, //
    },
    terms::{
        transfer,
        Flags,
        Mode,
        StatusFlags,
        Transfer,
        Value, //
    },
};
use kernel::prelude::*;

impl<O: Owner> LockTable<O> {
    /// Sees to it that the resource has room for a value block. Room that is not used, because
    /// the request fails or never writes, does no harm: nobody reads it.
    pub(super) fn prepare_value(&mut self, resource: u32) -> Result {
        if self.resources[resource].value == NONE {
            let room = self.values.room(true)?;
            self.resources[resource].value = room;
        }
        Ok(())
    }

    /// What the value block does when a lock goes, with these flags, that may write it, being PW or
    /// EX.
    pub(super) fn write_on_unlock(&mut self, lock: u32, flags: Flags, value: &Value) {
        let entry = &self.locks[lock];
        let resource = &mut self.resources[entry.resource];
        if flags.any(Flags::IVVALBLK) {
            resource.value_invalid = true;
        } else if flags.any(Flags::VALBLK) && entry.value != NONE {
            resource.value_written = true;
            resource.value_invalid = false;
            fill_buffer(&mut self.values, resource.value, value);
        }
    }
}

impl Lock {
    /// What the value block does when the lock is granted in `to`.
    #[inline(always)]
    pub(super) fn move_value(
        &mut self,
        resource: &mut Resource,
        values: &mut Slab<Value>,
        to: Mode,
    ) {
        let exchange = Exchange::new(self.value, self.flags, self.granted, to);
        self.status.set(exchange.carry_out(resource, values));
    }
}

/// Puts a value block into a lock's buffer, if it has one.
pub(super) fn fill_buffer(values: &mut Slab<Value>, buffer: u32, value: &Value) {
    if let Some(buffer) = values.get_mut(buffer) {
        *buffer = *value;
    }
}

/// What a grant means for the value block.
pub(super) struct Exchange {
    buffer: u32,
    flags: Flags,
    transfer: Transfer,
}

impl Exchange {
    /// A lock with this value buffer and these flags goes from one mode to another.
    pub(super) fn new(buffer: u32, flags: Flags, from: Option<Mode>, to: Mode) -> Self {
        Exchange {
            buffer,
            flags,
            transfer: transfer(from, to),
        }
    }

    /// Returns what the completion says of it.
    #[inline(never)]
    pub(super) fn carry_out(
        &self,
        resource: &mut Resource,
        values: &mut Slab<Value>,
    ) -> StatusFlags {
        let asked = self.buffer != NONE && self.flags.any(Flags::VALBLK);
        match self.transfer {
            Transfer::Read if !asked || !resource.value_written => return StatusFlags::default(),
            Transfer::Read => copy(values, resource.value, self.buffer),
            Transfer::Write if self.flags.any(Flags::IVVALBLK) => {
                resource.value_invalid = true;
                return StatusFlags::default();
            }
            Transfer::Write => {
                if asked {
                    resource.value_written = true;
                    resource.value_invalid = false;
                    copy(values, self.buffer, resource.value);
                }
                return StatusFlags::default();
            }
            Transfer::Nothing => {}
        }
        if resource.value_invalid {
            StatusFlags::VALNOTVALID
        } else {
            StatusFlags::default()
        }
    }
}

fn copy(values: &mut Slab<Value>, from: u32, to: u32) {
    if let Some(value) = values.get(from).copied() {
        if let Some(target) = values.get_mut(to) {
            *target = value;
        }
    }
}
