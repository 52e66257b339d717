// Command screenshots takes pictures of the review page of a running node, as
// PNG files in a folder:
//
//	go run ./screenshots -url http://127.0.0.1:8105 -user NAME -password PASSWORD -out DIR [-width 960]
//
// It shows the sign-in, the worklist, the first study with an ejection fraction,
// its stages side by side, its first measured loop and the operations, at
// 1280x720 and on a 4K monitor in portrait. With -width it writes JPEG files of
// that width instead, small enough for a document.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/disintegration/imaging"

	"github.com/echonode/echonode/conformance/review/browser"
)

func main() {
	url := flag.String("url", "http://127.0.0.1:8105", "address of the page")
	user := flag.String("user", "", "account")
	password := flag.String("password", "", "its password")
	out := flag.String("out", "screenshots", "folder for the pictures")
	lang := flag.String("lang", "en", "language")
	width := flag.Int("width", 0, "width of JPEG files; 0 writes PNG files as they are")
	flag.Parse()
	if err := run(*url, *user, *password, *out, *lang, *width); err != nil {
		fmt.Fprintln(os.Stderr, "screenshots:", err)
		os.Exit(1)
	}
}

func run(url, user, password, out, lang string, small int) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	for _, size := range []struct {
		name          string
		width, height int64
		scale         float64
	}{{"1280x720", 1280, 720, 1}, {"4k-portrait", 2160, 3840, 1}} {
		if err := shoot(ctx, url, user, password, lang, filepath.Join(out, size.name), size.width, size.height, size.scale, small); err != nil {
			return fmt.Errorf("%s: %w", size.name, err)
		}
	}
	return nil
}

// stillsDrawn says whether all pictures of the stage that is shown are there.
const stillsDrawn = `[...document.querySelectorAll("[data-stage]:not([hidden]) canvas.picture")].every((c) => {
	const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
	for (let i = 0; i < d.length; i += 4) if (d[i] > 60) return true;
	return false;
})`

func shoot(ctx context.Context, url, user, password, lang, name string, width, height int64, scale float64, small int) error {
	b, err := browser.Open(ctx)
	if err != nil {
		return err
	}
	defer b.Close()
	picture := func(page string) error {
		png, err := browser.Get(b, chromedp.CaptureScreenshot())
		if err != nil {
			return err
		}
		path := name + "-" + page + ".png"
		if small > 0 {
			img, err := imaging.Decode(bytes.NewReader(png))
			if err != nil {
				return err
			}
			path = name + "-" + page + ".jpg"
			fmt.Println(path)
			return imaging.Save(imaging.Resize(img, small, 0, imaging.Lanczos), path, imaging.JPEGQuality(82))
		}
		fmt.Println(path)
		return os.WriteFile(path, png, 0o644)
	}
	show := func(page string, steps ...browser.Step) error {
		if err := b.Do(steps...); err != nil {
			return fmt.Errorf("%s: %w", page, err)
		}
		return picture(page)
	}
	err = show("login", chromedp.EmulateViewport(width, height, chromedp.EmulateScale(scale)), chromedp.Navigate(url+"/language/"+lang+"?next=/login"))
	if err != nil {
		return err
	}
	if err := b.SignIn(url, user, password); err != nil {
		return err
	}
	if err := picture("worklist"); err != nil {
		return err
	}
	study, err := browser.Eval[string](b, `document.querySelector("#rows .ef")?.closest("tr").querySelector("a").href ?? ""`)
	if err != nil {
		return err
	}
	if study == "" {
		return errors.New("no study has an ejection fraction")
	}
	if err := b.Do(chromedp.Navigate(study)); err != nil {
		return err
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		drawn, err := browser.Eval[bool](b, stillsDrawn)
		if err == nil && drawn {
			break
		}
		if time.Now().After(end) {
			return fmt.Errorf("the stills are not drawn: %w", err)
		}
	}
	if err := show("study", chromedp.Sleep(500*time.Millisecond)); err != nil {
		return err
	}
	quad, err := browser.Eval[bool](b, `document.querySelector("[data-quad-tab]")?.click() !== undefined || document.querySelector("#quad") !== null`)
	if err != nil {
		return err
	}
	if quad {
		if err := show("stages", chromedp.Sleep(2*time.Second)); err != nil {
			return err
		}
	}
	loop, err := browser.Eval[string](b, `document.querySelector("a.still")?.href ?? ""`)
	if err != nil || loop == "" {
		return err
	}
	if err := show("loop", chromedp.Navigate(loop), chromedp.WaitVisible(`#screen[data-ready]`), chromedp.Sleep(time.Second)); err != nil {
		return err
	}
	if err := show("operations", chromedp.Navigate(url+"/operations"), chromedp.WaitVisible(`main`)); err != nil {
		return err
	}
	for _, p := range b.Problems() {
		fmt.Println("the page reports:", p)
	}
	return nil
}
