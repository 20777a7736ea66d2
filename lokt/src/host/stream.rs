//! Writing to what may not be read: a full pipe, a terminal that was told to hold (Ctrl-S).

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, write};

use super::clock::{monotonic, time_left};

/// Writes all of it, if the stream takes it within `patience`; `false` if it takes only some of it, or nothing. It may take
/// longer only where nobody can tell beforehand: a terminal that takes the first half of a line.
///
/// # Errors
///
/// Whatever the stream says.
pub(crate) fn write_soon(stream: BorrowedFd<'_>, text: &[u8], patience: Duration) -> io::Result<bool> {
    let until = monotonic() + patience;
    let mut rest = text;
    while !rest.is_empty() {
        let mut asked = [PollFd::new(&stream, PollFlags::OUT)];
        let written = match poll(&mut asked, Some(&time_left(until))) {
            Ok(0) => return Ok(false),
            Ok(_) => write_now(stream, rest),
            Err(error) => Err(error),
        };
        match written {
            Ok(written) => rest = &rest[written..],
            // A signal: most often of what there is to say something about.
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

/// Whether each of the streams takes something at this moment.
pub(crate) fn have_room(streams: &[BorrowedFd<'_>]) -> bool {
    let mut asked: Vec<_> = streams.iter().map(|stream| PollFd::new(stream, PollFlags::OUT)).collect();
    poll(&mut asked, Some(&time_left(Duration::ZERO))).is_ok_and(|ready| ready == asked.len())
}

/// A pipe that has room for something need not have it for all, and others may write to it, too.
#[cfg(target_os = "linux")]
fn write_now(stream: BorrowedFd<'_>, text: &[u8]) -> Result<usize, Errno> {
    use std::io::IoSlice;

    use rustix::fs::{FileType, fstat};
    use rustix::io::{ReadWriteFlags, pwritev2};

    /// pwritev2(2): where the stream stands.
    const HERE: u64 = u64::MAX;
    let is_pipe = fstat(stream).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo);
    if is_pipe {
        match pwritev2(stream, &[IoSlice::new(text)], HERE, ReadWriteFlags::NOWAIT) {
            // An older kernel.
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {}
            written => return written,
        }
    }
    write(stream, text)
}

#[cfg(not(target_os = "linux"))]
fn write_now(stream: BorrowedFd<'_>, text: &[u8]) -> Result<usize, Errno> {
    write(stream, text)
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::os::fd::AsFd;

    use rustix::fs::{OFlags, fcntl_setfl};
    use rustix::pipe::pipe;

    use super::*;

    #[test]
    fn what_a_pipe_has_no_room_for_is_not_waited_for() {
        let (reader, writer) = pipe().unwrap();
        fcntl_setfl(&writer, OFlags::NONBLOCK).unwrap();
        while write(&writer, &[b'x'; 4096]).is_ok() {}
        fcntl_setfl(&writer, OFlags::empty()).unwrap();
        let say = || write_soon(writer.as_fd(), &[b'y'; 6000], Duration::from_millis(1)).unwrap();
        assert!(!say());
        // Room for one page, and so for poll(2); not for all of it.
        rustix::io::read(&reader, &mut [0; 4096]).unwrap();
        assert!(!say());
        rustix::io::read(&reader, &mut [0; 65536]).unwrap();
        assert!(say());
    }
}
