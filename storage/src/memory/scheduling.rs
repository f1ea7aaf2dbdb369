//! How the system schedules threads that nobody waits for.

/// Puts the calling thread behind all others for good: it does not interrupt them when it wakes,
/// and of a processor that others want it gets the less, the higher `niceness` is, up to 19. What
/// the system refuses stays as it is.
pub fn give_way(niceness: u8) {
    #[cfg(target_os = "linux")]
    // SAFETY: changes how this thread is scheduled only.
    unsafe {
        let parameters: libc::sched_param = std::mem::zeroed();
        libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameters);
        libc::setpriority(libc::PRIO_PROCESS, 0, libc::c_int::from(niceness));
    }
    #[cfg(not(target_os = "linux"))]
    let _ = niceness;
}
