"""The wire: how bytes, shell commands and files reach an Android device over USB, TCP or an adb server. It knows no phone."""
