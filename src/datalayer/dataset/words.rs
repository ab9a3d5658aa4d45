//! The vocabulary of the generator, with weights.
//!
//! Given and family names are in descending frequency and drawn by Zipf's law. The diagnosis codes
//! are ICD-10 categories with their shares, in tenths of a percent, of the new cases of the
//! world's most frequent cancers (GLOBOCAN 2022, rounded; Bray et al. 2024, CA Cancer J Clin 74).

/// Most frequent first.
pub(super) const GIVEN_NAMES: &[&str] = &[
    "Maria",
    "James",
    "Anna",
    "Mohammed",
    "Li",
    "John",
    "Fatima",
    "David",
    "Sofia",
    "Wei",
    "Emma",
    "Michael",
    "Olga",
    "Ahmed",
    "Elena",
    "Daniel",
    "Aisha",
    "Carlos",
    "Yuki",
    "Peter",
    "Priya",
    "Thomas",
    "Chiara",
    "Ivan",
    "Sarah",
    "Paul",
    "Ingrid",
    "Omar",
    "Julia",
    "Samuel",
    "Dewi",
    "Marek",
    "Nadia",
    "Lucas",
    "Hana",
    "Andrei",
    "Siti",
    "Hugo",
    "Leila",
    "Björn",
    "Zoë",
    "Kofi",
    "Amélie",
    "Rajesh",
    "Greta",
    "Tomás",
    "Mei",
    "Oluwaseun",
    "Freya",
    "Kwame",
];

/// Most frequent first.
pub(super) const FAMILY_NAMES: &[&str] = &[
    "Wang",
    "Smith",
    "Garcia",
    "Kumar",
    "Nguyen",
    "Müller",
    "Johnson",
    "Ivanova",
    "Silva",
    "Kim",
    "Hassan",
    "Brown",
    "Rossi",
    "Tanaka",
    "Williams",
    "Santos",
    "Khan",
    "Martin",
    "Novak",
    "Jones",
    "Suzuki",
    "Schmidt",
    "Lopez",
    "Ali",
    "Wijaya",
    "Davies",
    "Andersson",
    "Dubois",
    "Kowalski",
    "Okafor",
    "Petrov",
    "Fernández",
    "Yilmaz",
    "Jansen",
    "Hansen",
    "Popescu",
    "Nagy",
    "O'Brien",
    "Papadopoulos",
    "Virtanen",
    "Horvat",
    "Mensah",
    "Bianchi",
    "Fischer",
    "Moreau",
    "Patel",
    "Ito",
    "Weber",
    "Costa",
    "Murphy",
    "Larsen",
    "Ozturk",
    "Keller",
    "Abebe",
    "Lindqvist",
    "Castillo",
    "Fontaine",
    "Van den Berg",
    "Haddad",
    "Zielinski",
];

/// Cities and their weights.
pub(super) const CITIES: &[(&str, u32)] = &[
    ("Jakarta", 210),
    ("Surabaya", 95),
    ("Bandung", 80),
    ("Medan", 70),
    ("Semarang", 52),
    ("Makassar", 48),
    ("Palembang", 46),
    ("Denpasar", 35),
    ("Yogyakarta", 30),
    ("Padang", 28),
    ("Malang", 26),
    ("Pekanbaru", 25),
    ("Balikpapan", 20),
    ("Manado", 16),
    ("Pontianak", 14),
    ("Kupang", 10),
    ("Ambon", 8),
    ("Jayapura", 7),
];

/// Diagnosis codes and their weights.
pub(super) const CODES: &[(&str, u32)] = &[
    ("C34", 124),
    ("C50", 116),
    ("C18", 57),
    ("C61", 73),
    ("C16", 49),
    ("C22", 43),
    ("C20", 36),
    ("C73", 41),
    ("C53", 33),
    ("C67", 31),
    ("C85", 28),
    ("C15", 26),
    ("C25", 26),
    ("C64", 22),
    ("C54", 21),
    ("C43", 17),
    ("C56", 16),
    ("C71", 16),
    ("C91", 24),
    ("C11", 6),
];

/// Stages at diagnosis and their weights; `X` is not known.
pub(super) const STAGES: &[(&str, u32)] =
    &[("I", 24), ("II", 26), ("III", 22), ("IV", 18), ("X", 10)];

/// What became of a past appointment.
pub(super) const APPOINTMENT_STATUSES: &[(&str, u32)] =
    &[("completed", 74), ("cancelled", 12), ("no_show", 6)];

/// How a client pays.
pub(super) const PAYMENT_METHODS: &[(&str, u32)] = &[
    ("card", 52),
    ("transfer", 27),
    ("cash", 14),
    ("insurance", 7),
];

/// What a client is to the tenant.
pub(super) const CLIENT_STATUSES: &[(&str, u32)] =
    &[("active", 82), ("inactive", 14), ("archived", 4)];

/// Mail providers; reserved names, so that no generated address reaches anyone.
pub(super) const MAIL_HOSTS: &[(&str, u32)] = &[
    ("example.com", 60),
    ("example.org", 25),
    ("example.net", 15),
];

/// Lengths of an appointment in minutes.
pub(super) const DURATIONS: &[(i64, u32)] = &[(15, 20), (30, 45), (45, 15), (60, 16), (90, 4)];

/// The deciles of a log-normal distribution with median 1000 and σ = 1, from e⁻³ to e³ of the
/// median at the ends: 1000·exp(z) for z = −3, −1.2816, −0.8416, −0.5244, −0.2533, 0 and mirrored.
/// Amounts are drawn evenly between two neighbours: right-skewed, and the same on every machine,
/// since no floating-point function is involved.
pub(super) const LOG_NORMAL_DECILES: [i64; 11] =
    [50, 278, 431, 592, 776, 1000, 1288, 1689, 2320, 3602, 20_086];
