module github.com/echonode/echonode/conformance/review

go 1.26.0

replace github.com/echonode/echonode => ../..

require github.com/chromedp/chromedp v0.23.0

require (
	golang.org/x/sync v0.25.0 // indirect
	golang.org/x/sys v0.50.0 // indirect
	golang.org/x/text v0.44.0 // indirect
)

require (
	github.com/chromedp/cdproto v0.159.0
	github.com/echonode/echonode v0.0.0
	github.com/go-json-experiment/json v0.0.0-20260213210345-44df1a37e875 // indirect
)
