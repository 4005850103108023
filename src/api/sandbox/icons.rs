//! The icons of the web interface as one SVG file with a symbol for each, such as `icons.svg#search`. The pages refer to the symbols by name.

use std::sync::LazyLock;

use icondata_core::Icon;
use icondata_lu as lucide;

/// Name of the file.
pub(super) const FILE: &str = "icons.svg";

/// Icons by the names of their symbols.
const ICONS: [(&str, Icon); 46] = [
    ("overview", lucide::LuLayoutDashboard),
    ("search", lucide::LuSearch),
    ("ask", lucide::LuMessageCircleQuestion),
    ("evaluate", lucide::LuTarget),
    ("history", lucide::LuHistory),
    ("sources", lucide::LuCable),
    ("work", lucide::LuBriefcase),
    ("boards", lucide::LuSquareKanban),
    ("crm", lucide::LuHandshake),
    ("records", lucide::LuTable2),
    ("jobs", lucide::LuListTodo),
    ("webhooks", lucide::LuWebhook),
    ("keys", lucide::LuKeyRound),
    ("people", lucide::LuUsers),
    ("guide", lucide::LuBookOpen),
    ("api", lucide::LuCode),
    ("sign-out", lucide::LuLogOut),
    ("auto", lucide::LuSunMoon),
    ("light", lucide::LuSun),
    ("dark", lucide::LuMoon),
    ("add", lucide::LuPlus),
    ("upload", lucide::LuUpload),
    ("website", lucide::LuGlobe),
    ("folder", lucide::LuFolder),
    ("s3", lucide::LuDatabase),
    ("feed", lucide::LuRss),
    ("git", lucide::LuGitBranch),
    ("imap", lucide::LuMail),
    ("delete", lucide::LuTrash2),
    ("enable", lucide::LuEye),
    ("disable", lucide::LuEyeOff),
    ("repeat", lucide::LuRotateCw),
    ("download", lucide::LuDownload),
    ("external", lucide::LuExternalLink),
    ("next", lucide::LuChevronRight),
    ("good", lucide::LuCircleCheck),
    ("bad", lucide::LuCircleAlert),
    ("close", lucide::LuX),
    ("edit", lucide::LuPencil),
    ("copy", lucide::LuCopy),
    ("start", lucide::LuPlay),
    ("stop", lucide::LuSquare),
    ("schedule", lucide::LuCalendarClock),
    ("settings", lucide::LuSettings2),
    ("info", lucide::LuInfo),
    ("file", lucide::LuFileText),
];

/// The file.
pub(super) static SVG: LazyLock<String> = LazyLock::new(|| {
    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\"><!-- Lucide, ISC License, Copyright (c) Lucide Icons and Contributors -->",
    );
    for (name, icon) in ICONS {
        let view = icon.view_box.unwrap_or("0 0 24 24");
        svg += &format!(
            "<symbol id=\"{name}\" viewBox=\"{view}\">{}</symbol>",
            icon.data
        );
    }
    svg + "</svg>"
});
