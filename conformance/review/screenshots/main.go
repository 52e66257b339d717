// Command screenshots takes pictures of the review page of a running node, as
// PNG files in a folder:
//
//	go run ./screenshots -url http://127.0.0.1:8105 -user NAME -password PASSWORD -out DIR
//
// It shows the worklist, the first study with an ejection fraction and its
// first measured loop, at 1280x720 and on a 4K monitor in portrait.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/echonode/echonode/conformance/review/browser"
)

func main() {
	url := flag.String("url", "http://127.0.0.1:8105", "address of the page")
	user := flag.String("user", "", "account")
	password := flag.String("password", "", "its password")
	out := flag.String("out", "screenshots", "folder for the pictures")
	lang := flag.String("lang", "en", "language")
	flag.Parse()
	if err := run(*url, *user, *password, *out, *lang); err != nil {
		fmt.Fprintln(os.Stderr, "screenshots:", err)
		os.Exit(1)
	}
}

func run(url, user, password, out, lang string) error {
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
		if err := shoot(ctx, url, user, password, lang, filepath.Join(out, size.name), size.width, size.height, size.scale); err != nil {
			return fmt.Errorf("%s: %w", size.name, err)
		}
	}
	return nil
}

func shoot(ctx context.Context, url, user, password, lang, name string, width, height int64, scale float64) error {
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
	// The pictures and curves take a moment.
	if err := show("study", chromedp.Navigate(study), chromedp.Sleep(1500*time.Millisecond)); err != nil {
		return err
	}
	loop, err := browser.Eval[string](b, `document.querySelector("a.still")?.href ?? ""`)
	if err != nil || loop == "" {
		return err
	}
	if err := show("loop", chromedp.Navigate(loop), chromedp.WaitVisible(`#screen[data-ready]`), chromedp.Sleep(time.Second)); err != nil {
		return err
	}
	for _, p := range b.Problems() {
		fmt.Println("the page reports:", p)
	}
	return nil
}
