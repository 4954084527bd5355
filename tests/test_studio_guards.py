"""What the studio does not let happen: requests of other pages, two windows at once, a folder that changed under the page."""

import os
import shutil
import threading

import pytest
from click.testing import CliRunner

from pggan_tf import files
from pggan_tf.studio import launch
from pggan_tf.studio.folders import Folders
from pggan_tf.studio.jobs import Jobs
from pggan_tf.studio.refusal import Refusal
from tests.studio_stand import draw_photos, write_run

pytest.importorskip("fastapi", reason="fastapi is not installed (extra serve)")
RUN = "00000-pggan-portraits-8"


def open_photos(asker, place):
    return asker.ask("POST", "/api/folders", body={"path": str(place)})[1]["id"]


def test_other_pages_of_this_machine_get_no_answer(asker):
    """A page at another port has the same cookies, and asks for pictures without an Origin."""
    for site, expected in (("same-site", 403), ("cross-site", 403), ("same-origin", 200), ("none", 200)):
        assert asker.ask("GET", "/api/runs", sec_fetch_site=site)[0] == expected, site
    # A click on the address in another page: a redirect would come back without the cookie, which is Strict.
    status, said = asker.ask("GET", "/", f"key={asker.studio.key}".encode(), cookie=None, sec_fetch_site="cross-site")
    assert status == 200 and b"http-equiv=refresh" in said
    assert asker.ask("GET", f"/api/runs/{RUN}/nearest", b"seed=1")[0] == 405, "what writes is no GET"


def test_what_leads_elsewhere_is_not_shown(asker, tmp_path):
    """Links in a run that somebody else has made, and links in the folders that are opened."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "a.png").write_bytes(b"SECRET")
    run = tmp_path / "runs" / RUN
    (run / "fakes-000009-4px-999.png").symlink_to(tmp_path / "secret" / "a.png")
    (run / "studio").symlink_to(tmp_path / "secret")
    for file in ("fakes-000009-4px-999.png", "studio/a.png"):
        assert asker.ask("GET", f"/api/runs/{RUN}/files/{file}")[0] == 404, file
    (tmp_path / "home" / "link").symlink_to(tmp_path / "secret")
    assert [f["name"] for f in asker.ask("GET", "/api/browse")[1]["folders"]] == ["photos"]


@pytest.mark.parametrize("linked", ["studio", "studio/export", "studio/export/keras"])
def test_nothing_is_exported_to_where_a_link_leads(asker, tmp_path, linked):
    """What is there would be replaced."""
    precious = tmp_path / "precious" / "keras"
    precious.mkdir(parents=True)
    (precious / "thesis.txt").write_text("three years")
    run = tmp_path / "runs" / RUN
    (run / "generator.keras").touch()  # as after a training
    place = run / linked
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(precious if linked.endswith("keras") else precious.parent)
    status, said = asker.ask("POST", f"/api/runs/{RUN}/export", body={"format": "keras"})
    assert status == 409 and f"its folder {place.name} is a link" in said["error"]
    if linked == "studio":
        status, said = asker.ask("POST", f"/api/runs/{RUN}/project", b"name=a", body=b"a photo")
        assert status == 409 and "is a link" in said["error"]
    assert [p.name for p in precious.iterdir()] == ["thesis.txt"]


def test_a_photo_that_took_the_place_of_another_is_not_changed(asker, tmp_path):
    photos = tmp_path / "home" / "photos"
    id = open_photos(asker, photos)
    path = f"/api/folders/{id}/photos/0"
    status, names, data = asker_send(asker, f"{path}.jpg")
    assert status == 200 and "no-cache" in names["cache-control"]
    assert asker_send(asker, f"{path}.jpg", if_none_match=names["etag"])[0] == 304
    shutil.copy(photos / "dogs" / "02.png", photos / "cats" / "00.png")  # the first by name
    open_photos(asker, photos)
    status, said = asker.ask("PUT", path, body={"left_out": True, "name": "cats/01.png"})
    assert status == 409 and "other photos" in said["error"]
    status, _, other = asker_send(asker, f"{path}.jpg", if_none_match=names["etag"])
    assert status == 200 and other != data
    assert asker.ask("PUT", path, body={"left_out": True, "name": "cats/00.png"})[1]["name"] == "cats/00.png"


def test_commands_to_copy_name_a_run_by_its_folder(asker, tmp_path):
    """With quotes where a shell needs them; and runs of the package by their name, which every folder knows."""
    named = write_run(tmp_path / "runs", "00001-my cats-8")
    places = {run["name"]: run["place"] for run in asker.ask("GET", "/api/runs")[1]}
    assert places == {named.name: f"'{named}'", RUN: str(tmp_path / "runs" / RUN)}
    shutil.rmtree(tmp_path / "runs" / RUN)
    shutil.rmtree(named)
    assert [run["place"] for run in asker.ask("GET", "/api/runs")[1]] == ["portraits"]


def asker_send(asker, path, **headers):
    import asyncio

    return asyncio.run(asker.send("GET", path, **headers))


def test_two_windows_ask_for_the_same(asker, tmp_path, monkeypatch):
    """Go on is queued once, and a folder is opened once, even if both have looked before."""
    queue, folders = asker.studio.queue, asker.studio.folders
    entry = queue.add("go-on", "A", [["train"]], "", run=RUN)
    with pytest.raises(Refusal, match="in the queue already"):
        queue.add("go-on", "A", [["train"]], "", run=RUN)
    status, said = asker.ask("DELETE", f"/api/runs/{RUN}")
    assert status == 409 and "waits in the queue" in said["error"]
    queue.remove(entry["id"])
    place, listed, both = tmp_path / "home" / "photos", folders.list_photos, threading.Barrier(2)

    def list_slowly(folder):
        both.wait(10)
        return listed(folder)

    monkeypatch.setattr(folders, "list_photos", list_slowly)
    threads = [threading.Thread(target=folders.open, args=(str(place),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(folders.list_all()) == 1
    assert len(list((tmp_path / "runs/.studio/folders").glob("*.json"))) == 1


def test_a_run_that_is_trained_is_not_deleted_even_if_no_list_of_locks_tells(asker, tmp_path, monkeypatch):
    from pggan_tf.studio import machine

    monkeypatch.setattr(machine, "list_locked_files", lambda: set())
    run = tmp_path / "runs" / RUN
    with files.hold_lock(run / ".lock", lambda: None):
        status, said = asker.ask("DELETE", f"/api/runs/{RUN}")
    assert status == 409 and "is being trained" in said["error"] and (run / "config.json").is_file()
    assert asker.ask("DELETE", f"/api/runs/{RUN}")[0] == 200 and not run.exists()


def test_a_hidden_folder_is_opened_if_the_command_line_names_it(asker, tmp_path):
    from pggan_tf.commands import studio

    hidden = draw_photos(tmp_path / "home" / ".hidden")
    (hidden / ".more").mkdir()
    folders = Folders(asker.studio.store, [hidden])
    assert folders.resolve(str(hidden / "cats")) == hidden / "cats"
    with pytest.raises(Refusal, match="hidden"):
        folders.resolve(str(hidden / ".more"))
    files_of_folders = tmp_path / "runs" / ".studio" / "folders.json"
    files_of_folders.write_text(
        str([{"id": str(i), "path": f"/{i}", "name": "a"} for i in range(200)]).replace("'", '"')
    )
    said = CliRunner().invoke(
        studio.command, [str(hidden), "--runs", str(tmp_path / "runs"), "--port", "0", "--no-browser"]
    )
    assert "200 folders are open" in str(said.exception) and type(said.exception).__name__ == "UserError"


def test_a_photo_that_was_sent_for_a_job_is_removed_however_it_ends(asker, tmp_path):
    class Failing:
        def call(self, *_):
            raise Refusal(409, "no")

    jobs = Jobs(asker.studio.hub, Failing())
    photo = tmp_path / "sent.photo"
    photo.touch()
    job = jobs.start("project", "photo", "project", {}, clean=photo.unlink)
    for thread in threading.enumerate():
        if thread.name.endswith("(_work)"):
            thread.join(10)
    assert jobs.get(job["id"])["state"] == "failed" and not photo.exists()


def test_helpers_leave_the_memory_of_a_gpu_to_training(asker, monkeypatch):
    told = []
    monkeypatch.setattr(launch.subprocess, "Popen", lambda *_, env, **__: told.append(env))
    launch.start_helper(asker.studio.store, gpu=True)
    launch.start_helper(asker.studio.store, gpu=False)
    assert told[0]["TF_FORCE_GPU_ALLOW_GROWTH"] == os.environ.get("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    visible = [environment.get("CUDA_VISIBLE_DEVICES") for environment in told]
    assert visible == [os.environ.get("CUDA_VISIBLE_DEVICES"), "-1"], "none while something is trained"
