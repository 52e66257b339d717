#!/usr/bin/env bash
# OHIF 3.13.2: a cine whose times stand in FrameTimeVector (0018,1065) starts at 24 frames a second whatever they are. FrameTime
# (0018,1063) alone counts, as round(1000 / FrameTime); CineRate (0018,0040) and RecommendedDisplayFrameRate (0008,2144) are not
# looked at, neither beside FrameTime nor without it.
#
# FrameIncrementPointer may name either attribute (PS3.3 C.7.6.5 and C.7.6.6), so a valid loop with the vector plays at a speed that
# nothing in the file says. Whoever makes objects for this viewer writes FrameTime, also where a rate for display is given.
#
# Valid Ultrasound Multi-frame Images of four frames are made and dropped into OHIF's own build, in a headless Chromium; what is
# read is the rate of the viewer's cine control.
# Needs Linux x86_64 with chromium, npm, python3 (3.10 to 3.13) with pip. Run: 1 minute. Exit code 0: as described; 1: otherwise.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
chromium=$(command -v chromium || command -v chromium-browser)
python3 -m pip install -q --disable-pip-version-check --root-user-action ignore --target "$tmp/py" pydicom==3.0.2 playwright==1.65.2
export PYTHONPATH=$tmp/py
(cd "$tmp" && npm pack --silent @ohif/app@3.13.2 >/dev/null && tar -xzf ohif-app-3.13.2.tgz)

cat >"$tmp/cine.py" <<'PY'
import http.server, os, sys, threading
from playwright.sync_api import TimeoutError, sync_playwright
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, UltrasoundMultiFrameImageStorage, generate_uid
tmp = sys.argv[1]
cases = (  # what the object says, and the rate; never the same one after the other
    ({"FrameTime": "40", "CineRate": 50, "RecommendedDisplayFrameRate": 50}, 25),
    ({"FrameTimeVector": ["0", "20", "20", "20"]}, 24),
    ({"FrameTime": "33.3"}, 30),
    ({"FrameTimeVector": ["0", "20", "20", "20"], "CineRate": 50, "RecommendedDisplayFrameRate": 50}, 24),
)
study, files, series = generate_uid(), [], []
for number, (times, _) in enumerate(cases, 1):
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = UltrasoundMultiFrameImageStorage, generate_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study, generate_uid()
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Test^Cine", "T1", "", ""
    ds.StudyDate, ds.StudyTime = "20260101", "120000"
    ds.AccessionNumber = ds.ReferringPhysicianName = ds.StudyID = ds.Manufacturer = ds.PatientOrientation = ""
    ds.Modality, ds.SeriesNumber, ds.InstanceNumber, ds.SeriesDescription = "US", number, 1, f"cine {number}"
    ds.ImageType, ds.LossyImageCompression = ["ORIGINAL", "PRIMARY", "", "0001"], "00"
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration, ds.Rows, ds.Columns = 3, "RGB", 0, 64, 64
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelRepresentation, ds.NumberOfFrames = 7, 0, 4
    ds.FrameIncrementPointer = 0x00181063 if "FrameTime" in times else 0x00181065
    for keyword, value in times.items():
        setattr(ds, keyword, value)
    ds.PixelData = b"".join(bytes([60 * (f + 1)]) * (64 * 64 * 3) for f in range(4))
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    files.append(f"{tmp}/{number}.dcm")
    ds.save_as(files[-1], enforce_file_format=True)
    series.append(ds.SeriesInstanceUID)

config = """window.config = { routerBasename: null, extensions: [], modes: [], customizationService: {}, showStudyList: true,
  maxNumberOfWebWorkers: 1, showCPUFallbackMessage: false, investigationalUseDialog: { option: 'never' }, defaultDataSourceName: 'dicomlocal',
  dataSources: [{ namespace: '@ohif/extension-default.dataSourcesModule.dicomlocal', sourceName: 'dicomlocal', configuration: { friendlyName: 'files' } }] };"""
dist = f"{tmp}/package/dist"
class Viewer(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *args):
        super().__init__(*args, directory=dist)
    def log_message(self, *args):
        pass
    def do_GET(self):
        if not os.path.isfile(self.translate_path(self.path)):
            self.path = "/"  # the viewer's own routes
        super().do_GET()
with open(f"{dist}/app-config.js", "w") as f:
    f.write(config)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Viewer)
threading.Thread(target=server.serve_forever, daemon=True).start()

shown = "window.services.cineService.getState().cines[window.services.viewportGridService.getActiveViewportId()]?.frameRate"
rates = []
with sync_playwright() as p:
    browser = p.chromium.launch(executable_path=sys.argv[2], args=["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
        "--disable-dev-shm-usage"])
    print("Chromium", browser.version)
    page = browser.new_page(viewport={"width": 1200, "height": 800})
    page.set_default_timeout(120_000)
    page.goto(f"http://127.0.0.1:{server.server_port}/local")
    page.locator("input[type=file]").first.set_input_files(files)
    page.get_by_text("Test").first.wait_for()
    # The viewer's own way to a study; loading the address anew would lose the files.
    page.evaluate(f"""() => {{ history.pushState({{}}, '', '/viewer?StudyInstanceUIDs={study}&datasources=dicomlocal');
        dispatchEvent(new PopStateEvent('popstate', {{state: {{}}}})) }}""")
    page.get_by_text("cine 4").first.wait_for()
    page.evaluate("() => window.commandsManager.runCommand('toggleCine')")
    for uid, (times, want) in zip(series, cases):
        page.evaluate("""uid => {
            const { displaySetService, viewportGridService } = window.services;
            viewportGridService.setDisplaySetsForViewports([{ viewportId: viewportGridService.getActiveViewportId(),
                displaySetInstanceUIDs: [displaySetService.getDisplaySetsForSeries(uid)[0].displaySetInstanceUID] }]);
        }""", uid)
        try:
            page.wait_for_function(f"() => {shown} === {want}", timeout=20_000)
        except TimeoutError:
            pass  # it offers another
        rates.append(page.evaluate(f"() => {shown}"))
        print(times, "->", rates[-1], "frames a second")
    browser.close()
sys.exit("CHANGED" if rates != [want for _, want in cases] else None)
PY
timeout 180 python3 "$tmp/cine.py" "$tmp" "$chromium"
