//! The types of audit records: their names by number, and what part a type plays in an event.
//!
//! Source: `linux/audit.h` and the audit user space's `msg_typetab.h`; which types stand alone follows the latter's
//! `auparse`, except that `LOGIN` and `CONFIG_CHANGE` may share an event with a system call, as newer kernels do.

use std::borrow::Cow;

/// What part a record plays in its event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// One of possibly many records of a kernel event.
    Part,
    /// `PROCTITLE`: the last record of a kernel event, where no end record is sent.
    Title,
    /// `EOE`: the end record.
    End,
    /// An event by itself, from user space.
    Alone,
    /// An event by itself, from the audit daemon, which numbers its events apart from the kernel.
    Daemon,
}

/// The name and the role of a type as a record writes it: `SYSCALL`, `UNKNOWN[1329]`, or the kernel log's plain number.
pub(super) fn kind(written: &str) -> (Cow<'static, str>, Role) {
    let digits = written.strip_prefix("UNKNOWN[").and_then(|rest| rest.strip_suffix(']')).unwrap_or(written);
    let known = match digits.parse::<u16>() {
        Ok(number) => match KINDS.binary_search_by_key(&number, |k| k.0) {
            Ok(at) => Some(KINDS[at]),
            Err(_) => return (Cow::Owned(written.to_owned()), role(number)),
        },
        Err(_) => KINDS.iter().find(|k| k.1 == written).copied(),
    };
    match known {
        Some((number, name)) => (Cow::Borrowed(name), role(number)),
        // A name that the tables do not know is most likely a later user-space type; holding it would only delay it.
        None => (Cow::Owned(written.to_owned()), Role::Alone),
    }
}

fn role(number: u16) -> Role {
    match number {
        1320 => Role::End,
        1327 => Role::Title,
        1200..=1299 => Role::Daemon,
        // Labelled networking reports its configuration in single records.
        1406..=1419 => Role::Alone,
        1006 | 1300..=1999 => Role::Part,
        _ => Role::Alone,
    }
}

/// Whether a type only accompanies another one: it never names its event.
pub(super) fn is_auxiliary(name: &str) -> bool {
    matches!(
        name,
        "SYSCALL"
            | "PATH"
            | "IPC"
            | "SOCKETCALL"
            | "SOCKADDR"
            | "CWD"
            | "EXECVE"
            | "IPC_SET_PERM"
            | "FD_PAIR"
            | "OBJ_PID"
            | "BPRM_FCAPS"
            | "CAPSET"
            | "MMAP"
            | "PROCTITLE"
            | "KERN_MODULE"
            | "OPENAT2"
            | "URINGOP"
    )
}

const KINDS: &[(u16, &str)] = &[
    (1005, "USER"),
    (1006, "LOGIN"),
    (1100, "USER_AUTH"),
    (1101, "USER_ACCT"),
    (1102, "USER_MGMT"),
    (1103, "CRED_ACQ"),
    (1104, "CRED_DISP"),
    (1105, "USER_START"),
    (1106, "USER_END"),
    (1107, "USER_AVC"),
    (1108, "USER_CHAUTHTOK"),
    (1109, "USER_ERR"),
    (1110, "CRED_REFR"),
    (1111, "USYS_CONFIG"),
    (1112, "USER_LOGIN"),
    (1113, "USER_LOGOUT"),
    (1114, "ADD_USER"),
    (1115, "DEL_USER"),
    (1116, "ADD_GROUP"),
    (1117, "DEL_GROUP"),
    (1118, "DAC_CHECK"),
    (1119, "CHGRP_ID"),
    (1120, "TEST"),
    (1121, "TRUSTED_APP"),
    (1122, "USER_SELINUX_ERR"),
    (1123, "USER_CMD"),
    (1124, "USER_TTY"),
    (1125, "CHUSER_ID"),
    (1126, "GRP_AUTH"),
    (1127, "SYSTEM_BOOT"),
    (1128, "SYSTEM_SHUTDOWN"),
    (1129, "SYSTEM_RUNLEVEL"),
    (1130, "SERVICE_START"),
    (1131, "SERVICE_STOP"),
    (1132, "GRP_MGMT"),
    (1133, "GRP_CHAUTHTOK"),
    (1134, "MAC_CHECK"),
    (1135, "ACCT_LOCK"),
    (1136, "ACCT_UNLOCK"),
    (1137, "USER_DEVICE"),
    (1138, "SOFTWARE_UPDATE"),
    (1200, "DAEMON_START"),
    (1201, "DAEMON_END"),
    (1202, "DAEMON_ABORT"),
    (1203, "DAEMON_CONFIG"),
    (1204, "DAEMON_RECONFIG"),
    (1205, "DAEMON_ROTATE"),
    (1206, "DAEMON_RESUME"),
    (1207, "DAEMON_ACCEPT"),
    (1208, "DAEMON_CLOSE"),
    (1209, "DAEMON_ERR"),
    (1300, "SYSCALL"),
    (1302, "PATH"),
    (1303, "IPC"),
    (1304, "SOCKETCALL"),
    (1305, "CONFIG_CHANGE"),
    (1306, "SOCKADDR"),
    (1307, "CWD"),
    (1309, "EXECVE"),
    (1311, "IPC_SET_PERM"),
    (1312, "MQ_OPEN"),
    (1313, "MQ_SENDRECV"),
    (1314, "MQ_NOTIFY"),
    (1315, "MQ_GETSETATTR"),
    (1316, "KERNEL_OTHER"),
    (1317, "FD_PAIR"),
    (1318, "OBJ_PID"),
    (1319, "TTY"),
    (1320, "EOE"),
    (1321, "BPRM_FCAPS"),
    (1322, "CAPSET"),
    (1323, "MMAP"),
    (1324, "NETFILTER_PKT"),
    (1325, "NETFILTER_CFG"),
    (1326, "SECCOMP"),
    (1327, "PROCTITLE"),
    (1328, "FEATURE_CHANGE"),
    (1329, "REPLACE"),
    (1330, "KERN_MODULE"),
    (1331, "FANOTIFY"),
    (1332, "TIME_INJOFFSET"),
    (1333, "TIME_ADJNTPVAL"),
    (1334, "BPF"),
    (1335, "EVENT_LISTENER"),
    (1336, "URINGOP"),
    (1337, "OPENAT2"),
    (1338, "DM_CTRL"),
    (1339, "DM_EVENT"),
    (1400, "AVC"),
    (1401, "SELINUX_ERR"),
    (1402, "AVC_PATH"),
    (1403, "MAC_POLICY_LOAD"),
    (1404, "MAC_STATUS"),
    (1405, "MAC_CONFIG_CHANGE"),
    (1406, "MAC_UNLBL_ALLOW"),
    (1407, "MAC_CIPSOV4_ADD"),
    (1408, "MAC_CIPSOV4_DEL"),
    (1409, "MAC_MAP_ADD"),
    (1410, "MAC_MAP_DEL"),
    (1411, "MAC_IPSEC_ADDSA"),
    (1412, "MAC_IPSEC_DELSA"),
    (1413, "MAC_IPSEC_ADDSPD"),
    (1414, "MAC_IPSEC_DELSPD"),
    (1415, "MAC_IPSEC_EVENT"),
    (1416, "MAC_UNLBL_STCADD"),
    (1417, "MAC_UNLBL_STCDEL"),
    (1418, "MAC_CALIPSO_ADD"),
    (1419, "MAC_CALIPSO_DEL"),
    (1423, "LANDLOCK_ACCESS"),
    (1424, "LANDLOCK_DOMAIN"),
    (1501, "APPARMOR_AUDIT"),
    (1502, "APPARMOR_ALLOWED"),
    (1503, "APPARMOR_DENIED"),
    (1504, "APPARMOR_HINT"),
    (1505, "APPARMOR_STATUS"),
    (1506, "APPARMOR_ERROR"),
    (1700, "ANOM_PROMISCUOUS"),
    (1701, "ANOM_ABEND"),
    (1702, "ANOM_LINK"),
    (1703, "ANOM_CREAT"),
    (1800, "INTEGRITY_DATA"),
    (1801, "INTEGRITY_METADATA"),
    (1802, "INTEGRITY_STATUS"),
    (1803, "INTEGRITY_HASH"),
    (1804, "INTEGRITY_PCR"),
    (1805, "INTEGRITY_RULE"),
    (1806, "INTEGRITY_EVM_XATTR"),
    (1807, "INTEGRITY_POLICY_RULE"),
    (2000, "KERNEL"),
    (2100, "ANOM_LOGIN_FAILURES"),
    (2101, "ANOM_LOGIN_TIME"),
    (2102, "ANOM_LOGIN_SESSIONS"),
    (2103, "ANOM_LOGIN_ACCT"),
    (2104, "ANOM_LOGIN_LOCATION"),
    (2112, "ANOM_EXEC"),
    (2114, "ANOM_ADD_ACCT"),
    (2115, "ANOM_DEL_ACCT"),
    (2116, "ANOM_MOD_ACCT"),
    (2117, "ANOM_ROOT_TRANS"),
    (2400, "CRYPTO_TEST_USER"),
    (2401, "CRYPTO_PARAM_CHANGE_USER"),
    (2402, "CRYPTO_LOGIN"),
    (2403, "CRYPTO_LOGOUT"),
    (2404, "CRYPTO_KEY_USER"),
    (2405, "CRYPTO_FAILURE_USER"),
    (2406, "CRYPTO_REPLAY_USER"),
    (2407, "CRYPTO_SESSION"),
    (2408, "CRYPTO_IKE_SA"),
    (2409, "CRYPTO_IPSEC_SA"),
    (2500, "VIRT_CONTROL"),
    (2501, "VIRT_RESOURCE"),
    (2502, "VIRT_MACHINE_ID"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_known_by_name_by_number_and_by_family() {
        assert!(KINDS.windows(2).all(|pair| pair[0].0 < pair[1].0), "searched by number");
        for (written, name, role) in [
            ("SYSCALL", "SYSCALL", Role::Part),
            ("1400", "AVC", Role::Part),
            ("UNKNOWN[1334]", "BPF", Role::Part),
            ("UNKNOWN[1399]", "UNKNOWN[1399]", Role::Part),
            ("UNKNOWN[2099]", "UNKNOWN[2099]", Role::Alone),
            ("EOE", "EOE", Role::End),
            ("PROCTITLE", "PROCTITLE", Role::Title),
            ("LOGIN", "LOGIN", Role::Part),
            ("USER_LOGIN", "USER_LOGIN", Role::Alone),
            ("DAEMON_END", "DAEMON_END", Role::Daemon),
            ("AUOMS_EXECVE", "AUOMS_EXECVE", Role::Alone),
        ] {
            assert_eq!(kind(written), (Cow::Borrowed(name), role), "{written}");
        }
    }
}
