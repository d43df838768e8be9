// SPDX-License-Identifier: GPL-2.0

//! Value blocks: between a lock's buffer and its resource.

use super::{
    LockTable,
    Owner, //
};
use crate::{
    slab::NONE,
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

    pub(super) fn fill_buffer(&mut self, lock: u32, value: &Value) {
        if let Some(buffer) = self.values.get_mut(self.locks[lock].value) {
            *buffer = *value;
        }
    }

    fn copy_value(&mut self, from: u32, to: u32) {
        if let Some(value) = self.values.get(from).copied() {
            if let Some(target) = self.values.get_mut(to) {
                *target = value;
            }
        }
    }

    /// What the value block does when a lock is granted in `to`.
    pub(super) fn move_value(&mut self, lock: u32, to: Mode) {
        let entry = &self.locks[lock];
        let resource = &mut self.resources[entry.resource];
        let asked = entry.value != NONE && entry.flags.any(Flags::VALBLK);
        let (buffer, value) = (entry.value, resource.value);
        match transfer(entry.granted, to) {
            Transfer::Read if !asked || !resource.value_written => return,
            Transfer::Read => self.copy_value(value, buffer),
            Transfer::Write if entry.flags.any(Flags::IVVALBLK) => {
                resource.value_invalid = true;
                return;
            }
            Transfer::Write if asked => {
                resource.value_written = true;
                resource.value_invalid = false;
                self.copy_value(buffer, value);
                return;
            }
            Transfer::Write => return,
            Transfer::Nothing => {}
        }
        let entry = &mut self.locks[lock];
        if self.resources[entry.resource].value_invalid {
            entry.status.set(StatusFlags::VALNOTVALID);
        }
    }

    /// What the value block does when a lock goes.
    pub(super) fn write_on_unlock(&mut self, lock: u32) {
        let entry = &self.locks[lock];
        if entry.granted < Some(Mode::Pw) {
            return;
        }
        let resource = &mut self.resources[entry.resource];
        if entry.flags.any(Flags::IVVALBLK) {
            resource.value_invalid = true;
        } else if entry.flags.any(Flags::VALBLK) && entry.value != NONE {
            resource.value_written = true;
            resource.value_invalid = false;
            let (buffer, value) = (entry.value, resource.value);
            self.copy_value(buffer, value);
        }
    }
}
