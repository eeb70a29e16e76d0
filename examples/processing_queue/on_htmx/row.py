"""Row of a job, as the HTML that the page inserts."""

from html import escape

from on_huey.jobs import Job


def row(job: Job) -> str:
    """Return the row; the file's name and an error come from users, and are escaped."""
    return (
        # htmx replaces the row with this id, or inserts it by its order.
        f'<li id="job-{job.id}" class="{job.state}" data-order="{job.created * 1000:.0f}">'
        f"<strong>{escape(job.name)}</strong>"
        f'<progress max="100" value="{job.percent}">{job.percent} %</progress>'
        f"<small>{escape(_detail(job))}</small>{_button(job)}</li>"
    )


def _detail(job: Job) -> str:
    if job.result:
        return "{lines:,} lines, {words:,} words, SHA-256 {sha256:.8}…".format_map(job.result)
    if job.error:
        return job.error
    return f"{job.stage}, {job.percent:.0f} %" if job.stage else "Waiting"


def _button(job: Job) -> str:
    if job.ended:
        return ""
    return f'<button hx-post="/api/cancel/{job.id}" hx-swap="none">Cancel</button>'
