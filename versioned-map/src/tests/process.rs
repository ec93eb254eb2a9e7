//! Signals, forks, and a kernel that refuses `membarrier`.
#![allow(unsafe_code)]

use super::*;

static HANDLED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn handle(_: libc::c_int) {
    let shared = shared_by_all();
    let guard = shared.domain.pin();
    let found = shared.find(0);
    shared.read(1);
    found.check();
    drop(guard);
    HANDLED.fetch_add(1, Relaxed);
}

/// The handler interrupts the thread while it pins, reads and unpins.
#[test]
fn a_signal_handler_may_read() {
    if !is_child("tests::process::a_signal_handler_may_read") {
        return;
    }
    let shared = shared_by_all();
    let handler = handle as extern "C" fn(libc::c_int);
    // SAFETY: the handler only pins and reads, which a signal handler may do.
    unsafe { libc::signal(libc::SIGUSR1, handler as libc::sighandler_t) };
    let is_over = AtomicBool::new(false);
    let reader = OnceLock::new();
    thread::scope(|threads| {
        threads.spawn(|| {
            shared.read(0);
            // SAFETY: it has no conditions.
            reader.get_or_init(|| unsafe { libc::pthread_self() });
            shared.read_until(&is_over, 0, |_| 1);
        });
        until("the reader begins", || reader.get().is_some());
        let mut reclaimer = shared.reclaimer();
        until("signals", || {
            // SAFETY: the thread runs until `is_over` is set.
            unsafe { libc::pthread_kill(*reader.get().unwrap(), libc::SIGUSR1) };
            for at in 0..20 {
                shared.replace(at, &mut reclaimer);
            }
            reclaimer.advance(0);
            drop(reclaimer.take(usize::MAX));
            HANDLED.load(Relaxed) > 150
        });
        // The handler's pins hold up nothing after the reader has pinned again.
        free_all(&mut reclaimer);
        is_over.store(true, Relaxed);
    });
}

/// Runs `work` in a forked process, and returns whether it succeeded.
fn in_fork(work: impl FnOnce()) -> bool {
    // SAFETY: the child runs only `work`, and exits without running destructors.
    match unsafe { libc::fork() } {
        0 => {
            let is_well = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_ok();
            // SAFETY: it has no conditions.
            unsafe { libc::_exit(i32::from(!is_well)) }
        }
        child => {
            let mut status = 0;
            // SAFETY: `child` is a child of this process.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            status == 0
        }
    }
}

#[test]
fn a_forked_process_continues_to_read_and_frees_nothing() {
    if !is_child("tests::process::a_forked_process_continues_to_read_and_frees_nothing") {
        return;
    }
    let shared = shared_by_all();
    let mut reclaimer = shared.reclaimer();
    let is_over = AtomicBool::new(false);
    thread::scope(|threads| {
        threads.spawn(|| {
            while !is_over.load(Relaxed) {
                let guard = shared.domain.pin();
                shared.find(0).check();
                thread::sleep(Duration::from_micros(100));
                drop(guard);
            }
        });
        for at in 0..200 {
            shared.replace(at, &mut reclaimer);
            if at % 3 == 0 {
                reclaimer.advance(at as u64);
            }
            let found = shared.domain.pin();
            let passed = reclaimer.passed();
            let reclaimer = &mut reclaimer;
            let is_well = in_fork(|| {
                shared.find(at).check();
                drop(found);
                (0..100).for_each(|at| shared.read(at));
                thread::spawn(|| (0..100).for_each(|at| shared.read(at)))
                    .join()
                    .unwrap();
                shared.replace(at, reclaimer);
                for _ in 0..5 {
                    assert!(!reclaimer.advance(1_000) && reclaimer.is_forked());
                    assert_eq!(reclaimer.take(usize::MAX).count(), 0, "it frees");
                }
                assert_eq!(reclaimer.passed(), passed);
                // A domain that is created here is not affected.
                let own = Shared::new();
                let mut owns = own.reclaimer();
                own.replace(0, &mut owns);
                assert!(owns.advance(1));
                assert_eq!(owns.take(usize::MAX).count(), 1);
            });
            assert!(is_well, "in round {at}");
        }
        is_over.store(true, Relaxed);
    });
    free_all(&mut reclaimer);
}

#[cfg(target_os = "linux")]
mod sandbox {
    //! A process that forbids itself the system call while readers run.

    use super::*;

    /// Makes the kernel refuse `membarrier` to all threads from now on.
    fn refuse() {
        fn step(code: u32, yes: u8, no: u8, k: u32) -> libc::sock_filter {
            libc::sock_filter {
                code: u16::try_from(code).unwrap(),
                jt: yes,
                jf: no,
                k,
            }
        }
        let number = u32::try_from(libc::SYS_membarrier).unwrap();
        let mut filter = [
            // The number of the call is the first word of the data that the filter examines.
            step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
            step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, number),
            step(
                libc::BPF_RET | libc::BPF_K,
                0,
                0,
                libc::SECCOMP_RET_ERRNO | libc::EPERM.unsigned_abs(),
            ),
            step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
        ];
        let program = libc::sock_fprog {
            len: 4,
            filter: filter.as_mut_ptr(),
        };
        // SAFETY: the filter is valid, and lives until the kernel has copied it.
        unsafe {
            assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
            let answer = libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                libc::SECCOMP_FILTER_FLAG_TSYNC,
                &raw const program,
            );
            assert_eq!(answer, 0, "{}", std::io::Error::last_os_error());
        }
    }

    #[test]
    fn a_kernel_that_begins_to_refuse_frees_nothing_too_early() {
        if !is_child(
            "tests::process::sandbox::a_kernel_that_begins_to_refuse_frees_nothing_too_early",
        ) {
            return;
        }
        let had_fences = has_fences();
        let shared = shared_by_all();
        let mut reclaimer = shared.reclaimer();
        let is_over = AtomicBool::new(false);
        thread::scope(|threads| {
            for own in 0..2 {
                let is_over = &is_over;
                threads.spawn(move || shared.read_until(is_over, own, |_| 1));
            }
            let (mut freed, mut begin) = ([0; 2], Instant::now());
            let mut refused_for = Duration::ZERO;
            for (phase, freed) in freed.iter_mut().enumerate() {
                if phase == 1 {
                    refuse();
                    begin = Instant::now();
                }
                for at in 0.. {
                    shared.replace(at, &mut reclaimer);
                    if at % 10 == 0 {
                        thread::sleep(Duration::from_micros(50));
                        let advanced = reclaimer.advance(0);
                        if phase == 1 && advanced && refused_for.is_zero() {
                            refused_for = begin.elapsed();
                        }
                    }
                    *freed += reclaimer.take(usize::MAX).count();
                    if begin.elapsed() > Duration::from_secs(1 + 2 * phase as u64) {
                        break;
                    }
                }
            }
            is_over.store(true, Relaxed);
            assert!(freed[0] > 100 && freed[1] > 100, "{freed:?}");
            let is_late = refused_for >= Duration::from_millis(900);
            assert!(
                had_fences || is_late,
                "the owner did not wait: {refused_for:?}"
            );
            assert!(has_fences());
        });
        free_all(&mut reclaimer);
    }

    /// The first pin asks the kernel, so a kernel that refuses from the beginning is noticed in
    /// time.
    #[test]
    fn a_kernel_that_refuses_from_the_beginning_is_not_relied_upon() {
        if !is_child(
            "tests::process::sandbox::a_kernel_that_refuses_from_the_beginning_is_not_relied_upon",
        ) {
            return;
        }
        refuse();
        let shared = shared_by_all();
        let mut reclaimer = shared.reclaimer();
        shared.read(0);
        assert!(has_fences());
        shared.replace(0, &mut reclaimer);
        assert!(reclaimer.advance(1), "there is nothing to wait for");
        free_all(&mut reclaimer);
    }
}
