"""What a run came to, as a page for people: pure functions of what the job service tells of it."""

from shared.reports.document import markdown as markdown
from shared.reports.page import html as html
